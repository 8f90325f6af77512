//! Components of the maskable layers of every family.

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};

use super::*;
use crate::architectures::AnyModel;
use crate::architectures::AnyTransformer;
use crate::architectures::tests::{configs, merged};
use crate::checkpoint::save_tensors;
use crate::inputs::ModelInputs;
use crate::testing::{Tensors, filled, read_weights};
use crate::transformer::Transformer;

/// Configurations of every family, with different values for the number of heads, the head width and the hidden width.
fn wide_configs() -> Vec<Value> {
    let sizes = json!({
        "hidden_size": 24, "n_embd": 24, "num_attention_heads": 6, "num_heads": 6, "n_head": 6,
    });
    configs().into_iter().map(|config| merged(config, sizes.clone())).collect()
}

fn resnet() -> Value {
    json!({"model_type": "resnet", "architectures": ["ResNetForImageClassification"], "embedding_size": 4,
        "hidden_sizes": [4, 8], "depths": [2, 1], "layer_type": "basic"})
}

fn components_of_model(config: &Value) -> Vec<LayerComponents> {
    layer_components(&AnyModel::init(config, &Device::default()).unwrap())
}

fn layer<'a>(layers: &'a [LayerComponents], short_name: &str) -> &'a LayerComponents {
    layers.iter().find(|layer| layer.short_name == short_name).unwrap()
}

fn weight(layer: &LayerComponents, component: Component) -> (usize, Vec<Range<usize>>) {
    let slice = layer.slices.iter().find(|slice| slice.component == component).unwrap();
    (slice.axis, slice.weight.clone())
}

fn config_of(model_type: &str) -> Value {
    wide_configs().into_iter().find(|config| config["model_type"] == model_type).unwrap()
}

#[test]
fn gpt2_heads_have_columns_of_query_key_and_value() {
    let layers = components_of_model(&config_of("gpt2"));
    let (axis, ranges) = weight(layer(&layers, "attn.c_attn"), Component::Head(1));
    assert_eq!((axis, ranges), (1, vec![4..8, 28..32, 52..56]));
    assert_eq!(weight(layer(&layers, "attn.c_proj"), Component::Head(1)), (0, vec![4..8; 1]));
    let projection = layer(&layers, "attn.c_proj").slices.last().unwrap();
    assert_eq!(
        (projection.component, projection.weight.len(), &projection.bias),
        (Component::AllHeads, 0, &vec![0..24; 1])
    );
    for name in ["mlp.c_fc", "mlp.c_proj"] {
        assert_eq!(layer(&layers, name).slices.len(), 1, "{name} belongs to the MLP only");
        assert_eq!(layer(&layers, name).slices[0].component, Component::Mlp);
    }
}

#[test]
fn gpt_neox_heads_have_their_query_key_and_value_together() {
    let layers = components_of_model(&config_of("gpt_neox"));
    assert_eq!(weight(layer(&layers, "attention.query_key_value"), Component::Head(2)), (0, vec![24..36; 1]));
    assert_eq!(weight(layer(&layers, "attention.dense"), Component::Head(2)), (1, vec![8..12; 1]));
}

#[test]
fn mpnet_and_gpt_neo_have_names_of_their_own() {
    for (model_type, query, output) in [
        ("mpnet", "attention.attn.q", "attention.attn.o"),
        ("gpt_neo", "attn.attention.q_proj", "attn.attention.out_proj"),
    ] {
        let layers = components_of_model(&config_of(model_type));
        assert_eq!(weight(layer(&layers, query), Component::Head(5)), (0, vec![20..24; 1]));
        assert_eq!(weight(layer(&layers, output), Component::Head(5)), (1, vec![20..24; 1]));
    }
}

#[test]
fn convbert_has_two_kinds_of_heads() {
    let layers = components_of_model(&config_of("convbert"));
    assert_eq!(weight(layer(&layers, "attention.self.query"), Component::Head(2)), (0, vec![8..12; 1]));
    let kernels = layer(&layers, "attention.self.conv_kernel_layer");
    assert_eq!(weight(kernels, Component::ConvolutionHead(1)), (0, vec![3..6; 1]));
    let output = layer(&layers, "attention.output.dense");
    assert_eq!(weight(output, Component::Head(2)), (1, vec![8..12; 1]));
    assert_eq!(weight(output, Component::ConvolutionHead(0)), (1, vec![12..16; 1]));
    let span = layer(&layers, "attention.self.key_conv_attn_layer.pointwise");
    assert_eq!(weight(span, Component::AllHeads), (0, vec![0..12; 1]));
}

#[test]
fn resnet_layers_are_counted_in_stages() {
    let layers = components_of_model(&resnet());
    let locations: Vec<Location> = layers.iter().map(|layer| layer.location).collect();
    let block = |stage, layer| Location::Block { stage: Some(stage), layer };
    assert_eq!(locations.first(), Some(&Location::Input));
    assert_eq!(locations.last(), Some(&Location::Output));
    assert!(locations.is_sorted(), "{locations:?}");
    assert!(locations.contains(&block(0, 1)) && locations.contains(&block(1, 0)), "{locations:?}");
    assert_eq!(layer(&layers, "shortcut.convolution").slices[0].component, Component::Shortcut);
    assert_eq!(layer(&layers, "layer.1.convolution").slices[0].component, Component::Convolutions);
}

#[test]
fn layers_outside_the_blocks_stand_before_or_after_them() {
    let layers = components_of_model(&config_of("electra"));
    assert_eq!(layers[0].location, Location::Input);
    assert_eq!(layers.last().unwrap().location, Location::Output);
    assert_eq!(layers.last().unwrap().slices[0].component, Component::Other);
    let blocks = layers.iter().filter(|layer| matches!(layer.location, Location::Block { .. }));
    assert_eq!(blocks.count(), 12);
}

#[test]
fn runs_are_flat_and_row_major() {
    let columns = WeightSlice { component: Component::Head(0), axis: 1, weight: vec![1..2, 3..5], bias: Vec::new() };
    assert_eq!(columns.weight_runs(&[2, 5]), [1..2, 3..5, 6..7, 8..10]);
    let rows = WeightSlice { axis: 0, ..columns };
    assert_eq!(rows.weight_runs(&[5, 2, 3]), [6..12, 18..30]);
}

#[test]
fn every_entry_belongs_to_one_part_and_no_layer_of_a_block_is_forgotten() {
    for config in wide_configs().iter().chain([&resnet()]) {
        for layer in components_of_model(config) {
            let (shape, name) = (&layer.layer.shape, &layer.layer.name);
            let runs = layer.slices.iter().flat_map(|slice| slice.weight_runs(shape));
            assert!(cover_once(runs, shape.iter().product()), "{name}");
            let outputs = shape[output_and_input(layer.layer.kind)[0]];
            let biases = layer.slices.iter().flat_map(|slice| slice.bias.clone());
            assert!(cover_once(biases, if layer.layer.bias { outputs } else { 0 }), "{name}");
            let in_block = matches!(layer.location, Location::Block { .. });
            assert_eq!(in_block, layer.slices[0].component != Component::Other, "{name}");
        }
    }
}

/// Whether the ranges contain each index below `len` exactly once.
fn cover_once(ranges: impl Iterator<Item = Range<usize>>, len: usize) -> bool {
    let mut counts = vec![0; len];
    ranges.flatten().for_each(|entry| counts[entry] += 1);
    counts.iter().all(|count| *count == 1)
}

/// Removes a head in two ways: by zeroing the outputs of its query, key and value projections, and by zeroing the
/// inputs of the output projection that read it. Both models compute the same values if the slices of all layers are
/// correct.
#[test]
fn a_head_can_be_cut_out_on_either_side() {
    let device = Device::default();
    for config in wide_configs() {
        let model = filled(AnyTransformer::init(&config, &device).unwrap());
        // ConvBERT's convolution depends on the queries of all attention heads, so one of its own heads is removed.
        let head = if config["model_type"] == "convbert" { Component::ConvolutionHead(1) } else { Component::Head(1) };
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let (weights, layers) = (read_weights(folder.path()), layer_components(&model));
        let outputs = [true, false].map(|by_outputs| {
            let mut cut = weights.clone();
            layers.iter().for_each(|layer| cut_head(&mut cut, layer, head, by_outputs));
            save_tensors(folder.path().join("model.safetensors"), &cut).unwrap();
            logits(&AnyTransformer::load(folder.path(), &device).unwrap())
        });
        let whole = logits(&model);
        assert!(max_difference(&outputs[0], &outputs[1]) < 1e-5, "{config}");
        assert!(max_difference(&outputs[0], &whole) > 1e-4, "{config}: removing the head changes nothing");
    }
}

fn cut_head(weights: &mut Tensors, layer: &LayerComponents, head: Component, by_outputs: bool) {
    let [output, _] = output_and_input(layer.layer.kind);
    for slice in layer.slices.iter().filter(|slice| slice.component == head) {
        if (slice.axis == output) == by_outputs {
            zero(weights, &format!("{}.weight", layer.layer.name), slice.weight_runs(&layer.layer.shape));
            zero(weights, &format!("{}.bias", layer.layer.name), slice.bias.clone());
        }
    }
}

fn zero(weights: &mut Tensors, name: &str, runs: Vec<Range<usize>>) {
    let Some(data) = weights.get_mut(name) else {
        return;
    };
    let mut values: Vec<f32> = data.try_to_vec().unwrap();
    runs.into_iter().flatten().for_each(|entry| values[entry] = 0.0);
    *data = TensorData::new(values, data.shape().clone());
}

fn logits(model: &AnyTransformer) -> Vec<f32> {
    let device = model.device();
    let inputs = match model {
        AnyTransformer::Vit(_) => {
            let pixels: Vec<f32> = (0..48).map(|i| (i as f32 * 0.37).sin()).collect();
            ModelInputs::images(Tensor::from_data(TensorData::new(pixels, [1, 3, 4, 4]), &device))
        }
        _ => ModelInputs::from_ids(&[[1, 2, 3, 4], [7, 0, 5, 6]], &device),
    };
    model.forward(&inputs).unwrap().last_hidden_state.to_data_as::<f32>().try_to_vec().unwrap()
}

fn max_difference(first: &[f32], second: &[f32]) -> f32 {
    first.iter().zip(second).map(|(first, second)| (first - second).abs()).fold(0.0, f32::max)
}
