//! Tests of a whole ResNet: its outputs, batch norms, gradients and model folder.

use std::path::Path;

use burn::module::Module;
use burn::store::{ModuleSnapshot, bridge};
use burn::tensor::{Device, Int, Tensor, TensorData, Tolerance};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ResNet, ResNetConfig};
use crate::checkpoint::Pretrained;
use crate::config::InitialValue;
use crate::error::ModelError;
use crate::inputs::{Logits, ModelInputs};
use crate::layers::LayerKind;
use crate::loss::{Labels, cross_entropy};
use crate::model::Model;
use crate::testing::{change_config, filled, read_weights};

const CLASSES: &str = "ResNetForImageClassification";

/// Two stages of bottleneck layers. The shortcut of the very first layer changes the width but not the resolution.
fn config(class: &str) -> Value {
    json!({
        "model_type": "resnet", "architectures": [class], "num_channels": 2, "embedding_size": 4,
        "hidden_sizes": [8, 12], "depths": [2, 1], "layer_type": "bottleneck", "hidden_act": "silu",
        "id2label": {"0": "a", "1": "b", "2": "c"}, "out_features": ["stage2"],
    })
}

fn model_on(class: &str, device: &Device) -> ResNet {
    filled(ResNet::from_config(&config(class), device).unwrap())
}

fn model(class: &str) -> ResNet {
    model_on(class, &Device::default())
}

fn images_on(dims: [usize; 4], device: &Device) -> ModelInputs {
    let values = Tensor::<1, Int>::arange(0..dims.iter().product::<usize>() as i64, device).float();
    ModelInputs::images((values * 0.7).sin().reshape(dims))
}

fn inputs() -> ModelInputs {
    images_on([2, 2, 21, 16], &Device::default())
}

fn labels(device: &Device) -> Labels {
    Labels::Classes(Tensor::from_ints([2, 0], device))
}

fn saved(class: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    model(class).save(folder.path()).unwrap();
    folder
}

fn scores(model: &ResNet, inputs: &ModelInputs) -> TensorData {
    match model.logits(inputs).unwrap() {
        Some(scores @ Logits::Sequences(_)) => scores.into_data(),
        other => panic!("{other:?}"),
    }
}

/// All running statistics with their names.
fn statistics(model: &ResNet) -> Vec<(String, TensorData)> {
    let tensors = model.collect(None, None, true).into_iter().filter(|tensor| tensor.name.contains("running_"));
    tensors.map(|tensor| (tensor.name.clone(), bridge::into_data(tensor).unwrap())).collect()
}

#[test]
fn each_stage_but_the_first_halves_the_resolution() {
    let output = model(CLASSES).forward(&inputs()).unwrap();
    let dims: Vec<_> = output.hidden_states.iter().map(Tensor::dims).collect();
    assert_eq!(dims, [[2, 4, 6, 4], [2, 8, 6, 4], [2, 12, 3, 2]]);
    assert_eq!(output.pooler_output.dims(), [2, 12, 1, 1]);
    let mean = output.hidden_states[2].clone().mean_dim(2).mean_dim(3);
    output.pooler_output.into_data().assert_approx_eq::<f32>(&mean.into_data(), Tolerance::absolute(1e-6));
    assert!(model("ResNetModel").forward(&inputs()).unwrap().logits.is_none());
}

#[test]
fn saved_and_loaded_is_the_same_bit_for_bit() {
    for class in ["ResNetModel", CLASSES] {
        let (first, second) = (saved(class), tempfile::tempdir().unwrap());
        ResNet::load(first.path(), &Device::default()).unwrap().save(second.path()).unwrap();
        for file in ["model.safetensors", "config.json"] {
            let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
            assert!(read(first.path()) == read(second.path()), "{class}: {file}");
        }
    }
}

#[test]
fn a_file_holds_what_transformers_looks_for() {
    let tensors = read_weights(saved(CLASSES).path());
    let norm = "resnet.encoder.stages.1.layers.0.shortcut.normalization";
    for (leaf, shape) in [("weight", vec![12]), ("running_mean", vec![12]), ("num_batches_tracked", vec![])] {
        assert_eq!(tensors[&format!("{norm}.{leaf}")].shape().to_vec(), shape, "{leaf}");
    }
    assert_eq!(tensors["classifier.1.weight"].shape().to_vec(), [3, 12]);
    assert!(tensors.contains_key("resnet.embedder.embedder.convolution.weight"));
    let base = read_weights(saved("ResNetModel").path());
    assert!(base.contains_key("encoder.stages.0.layers.1.layer.2.normalization.running_var"));
}

#[test]
fn maskable_layers_have_hf_names_and_shapes() {
    let layers = model(CLASSES).maskable_layers();
    let expected: [(&str, LayerKind, &[usize]); 13] = [
        ("resnet.embedder.embedder.convolution", LayerKind::Conv2d, &[4, 2, 7, 7]),
        ("resnet.encoder.stages.0.layers.0.shortcut.convolution", LayerKind::Conv2d, &[8, 4, 1, 1]),
        ("resnet.encoder.stages.0.layers.0.layer.0.convolution", LayerKind::Conv2d, &[2, 4, 1, 1]),
        ("resnet.encoder.stages.0.layers.0.layer.1.convolution", LayerKind::Conv2d, &[2, 2, 3, 3]),
        ("resnet.encoder.stages.0.layers.0.layer.2.convolution", LayerKind::Conv2d, &[8, 2, 1, 1]),
        ("resnet.encoder.stages.0.layers.1.layer.0.convolution", LayerKind::Conv2d, &[2, 8, 1, 1]),
        ("resnet.encoder.stages.0.layers.1.layer.1.convolution", LayerKind::Conv2d, &[2, 2, 3, 3]),
        ("resnet.encoder.stages.0.layers.1.layer.2.convolution", LayerKind::Conv2d, &[8, 2, 1, 1]),
        ("resnet.encoder.stages.1.layers.0.shortcut.convolution", LayerKind::Conv2d, &[12, 8, 1, 1]),
        ("resnet.encoder.stages.1.layers.0.layer.0.convolution", LayerKind::Conv2d, &[3, 8, 1, 1]),
        ("resnet.encoder.stages.1.layers.0.layer.1.convolution", LayerKind::Conv2d, &[3, 3, 3, 3]),
        ("resnet.encoder.stages.1.layers.0.layer.2.convolution", LayerKind::Conv2d, &[12, 3, 1, 1]),
        ("classifier.1", LayerKind::Linear, &[3, 12]),
    ];
    let found: Vec<_> = layers.iter().map(|layer| (&layer.name[..], layer.kind, &layer.shape[..])).collect();
    assert_eq!(found, expected);
    assert!(layers.iter().all(|layer| layer.bias == (layer.kind == LayerKind::Linear)));
}

#[test]
fn gradients_flow_through_batch_norms_that_stay_as_they_are() {
    let device = Device::default().autodiff();
    for model in [model_on(CLASSES, &device), model_on(CLASSES, &device).freeze()] {
        let before = statistics(&model);
        let pixels = images_on([2, 2, 21, 16], &device).pixel_values.unwrap().require_grad();
        let output = model.task_output(&ModelInputs::images(pixels.clone()), &labels(&device)).unwrap();
        let gradients = output.loss.backward();
        assert!(pixels.grad(&gradients).unwrap().abs().sum().into_scalar::<f32>() > 0.0);
        assert_eq!(statistics(&model), before);
        let plain = scores(&self::model(CLASSES), &inputs());
        output.logits.into_data().assert_approx_eq::<f32>(&plain, Tolerance::absolute(1e-5));
    }
}

#[test]
fn only_unfreeze_turns_the_statistics_of_batches_on() {
    let device = Device::default().autodiff();
    let inputs = images_on([2, 2, 21, 16], &device);
    let updates_statistics = |model: ResNet| {
        let before = statistics(&model);
        model.logits(&inputs).unwrap();
        assert_eq!(statistics(&model), before, "only `valid` or the next forward pass applies an update");
        statistics(&model.valid()) != before
    };
    assert!(!updates_statistics(model_on(CLASSES, &device)));
    assert!(!updates_statistics(model_on(CLASSES, &device).valid().train()));
    assert!(!updates_statistics(model(CLASSES).train()));
    assert!(updates_statistics(model_on(CLASSES, &device).unfreeze()));
    assert!(!updates_statistics(model_on(CLASSES, &device).unfreeze().freeze()));
    let trained = model_on(CLASSES, &device).unfreeze().valid();
    scores(&trained, &self::inputs()).assert_eq(&scores(&model(CLASSES), &self::inputs()), true);
}

#[test]
fn the_loss_is_the_mean_cross_entropy() {
    let (model, device) = (model(CLASSES), Device::default());
    let output = model.task_output(&inputs(), &labels(&device)).unwrap();
    let scores = Tensor::<2>::from_data(scores(&model, &inputs()), &device);
    let expected = cross_entropy(scores, Tensor::from_ints([2, 0], &device));
    output.loss.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::default());
    let error = self::model("ResNetModel").task_output(&inputs(), &labels(&device)).unwrap_err();
    assert!(error.to_string().contains("no head"), "{error}");
}

#[test]
fn a_fresh_model_is_drawn_as_torch_does() {
    let model = model(CLASSES);
    let convolution = "resnet.stages.0.layers.0.layer.1.convolution.weight";
    let std = (2.0_f64 / (2.0 * 9.0)).sqrt();
    assert_eq!(model.initial_value(convolution, &[2, 2, 3, 3]), InitialValue::Normal { std });
    let bound = 12.0_f64.powf(-0.5);
    for (path, shape) in [("classifier.weight", &[12, 3][..]), ("classifier.bias", &[3])] {
        assert_eq!(model.initial_value(path, shape), InitialValue::Uniform { bound }, "{path}");
    }
    for (leaf, value) in [("gamma", 1.0), ("beta", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
        let path = format!("resnet.embedder.normalization.{leaf}");
        assert_eq!(model.initial_value(&path, &[4]), InitialValue::Constant(value), "{leaf}");
    }
}

mod refused {
    use super::*;

    #[test]
    fn what_is_no_image_or_has_other_channels() {
        let refused = |inputs: &ModelInputs| match model(CLASSES).logits(inputs) {
            Err(error @ ModelError::InvalidInput { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let device = Device::default();
        assert!(refused(&images_on([1, 3, 8, 8], &device)).contains("channels is 3"));
        assert!(refused(&ModelInputs::from_ids(&[[1, 2]], &device)).contains("input_ids is given"));
        assert!(refused(&ModelInputs::default()).contains("pixel_values is missing"));
        assert!(model(CLASSES).logits(&images_on([1, 2, 1, 1], &device)).is_ok());
    }

    #[test]
    fn configurations_that_describe_no_model() {
        let folder = saved(CLASSES);
        for (field, value, expected) in [
            ("depths", json!([2]), "depths is [2], but hidden_sizes has 2 stages"),
            ("depths", json!([2, 0]), "depths is 0"),
            ("hidden_sizes", json!([]), "hidden_sizes is 0"),
            ("hidden_sizes", json!([3, 8]), "hidden_sizes is 3, but a bottleneck divides it by 4"),
            ("embedding_size", json!(0), "embedding_size is 0"),
            ("layer_type", json!("wide"), "bottleneck"),
            ("architectures", json!(["ResNetBackbone"]), "values are: ResNetModel, ResNetForImageClassification"),
        ] {
            let before = std::fs::read(folder.path().join("config.json")).unwrap();
            change_config(folder.path(), |config| config[field] = value);
            let message = ResNet::load(folder.path(), &Device::default()).unwrap_err().to_string();
            assert!(message.contains(expected), "`{expected}` is missing in: {message}");
            std::fs::write(folder.path().join("config.json"), before).unwrap();
        }
    }
}

#[test]
fn defaults_are_those_of_resnet_50() {
    let config: ResNetConfig = serde_json::from_value(json!({})).unwrap();
    assert_eq!(config, ResNetConfig::default());
    assert_eq!((config.hidden_sizes.len(), config.output_size()), (4, 2048));
}
