//! Tests that interventions on a linear layer are what they are called, for every family of transformers: a unit whose
//! output is replaced by a constant is one with zero weights and that constant as its bias.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, Tolerance};
use ns_models::{
    AnyTransformer, Checkpoint, Component, LayerComponents, LayerKind, Location, Model, ModelInputs, ModelOutput,
    Transformer, layer_components, save_tensors,
};
use ns_probe::{
    ActivationMeans, ActivationSite, Edit, OutputReplacements, Replacement, record_activations, run_edited,
};

/// Units that are replaced.
const UNITS: [usize; 3] = [0, 2, 5];

struct Case {
    folder: std::path::PathBuf,
    model: AnyTransformer,
    inputs: ModelInputs,
}

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

/// The transformers among the golden models, with their inputs.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(golden().join("models")).unwrap() {
        let (folder, device) = (entry.unwrap().path(), Device::default());
        let whole = folder.join("model.safetensors").is_file();
        let Some(model) = AnyTransformer::load(&folder, &device).ok().filter(|_| whole) else { continue };
        let inputs = ModelInputs::from_named(&read(&folder.join("inputs.safetensors")), &device).unwrap();
        cases.push(Case { folder, model, inputs });
    }
    let families: BTreeSet<&str> = cases.iter().map(|case| case.model.model_type()).collect();
    let all = ["bert", "convbert", "electra", "ernie", "gpt2", "gpt_neo", "gpt_neox", "mpnet", "roberta", "vit"];
    assert_eq!(families.into_iter().collect::<Vec<_>>(), all);
    cases
}

fn read(file: &Path) -> BTreeMap<String, TensorData> {
    let checkpoint = Checkpoint::open_file(file).unwrap();
    checkpoint.names().map(|name| (name.to_string(), checkpoint.data(name).unwrap().unwrap())).collect()
}

fn linear_layers_in_blocks(model: &AnyTransformer) -> Vec<LayerComponents> {
    let is_linear = |entry: &LayerComponents| {
        matches!(entry.location, Location::Block { .. })
            && matches!(entry.layer.kind, LayerKind::Linear | LayerKind::GptConv1d)
    };
    layer_components(model).into_iter().filter(is_linear).collect()
}

fn result(output: ModelOutput) -> TensorData {
    output.last_hidden_state.into_data()
}

#[track_caller]
fn assert_near(found: &TensorData, expected: &TensorData, what: &str) {
    let largest = found.iter::<f32>().zip(expected.iter::<f32>()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(found.shape() == expected.shape() && largest <= 2e-5, "{what}: {largest:e}");
}

/// The value that replaces the output of a unit. A layer without bias has no other constant than 0.
fn constant(entry: &LayerComponents, unit: usize) -> f32 {
    if entry.layer.bias { 0.25 + unit as f32 * 0.125 } else { 0.0 }
}

fn width(entry: &LayerComponents) -> usize {
    entry.layer.shape[usize::from(entry.layer.kind == LayerKind::GptConv1d)]
}

#[test]
fn a_unit_with_a_constant_output_is_one_without_weights() {
    for Case { folder, model, inputs } in cases() {
        let tensors = read(&folder.join("model.safetensors"));
        for entry in linear_layers_in_blocks(&model) {
            let (weight, name) = (format!("{}.weight", entry.layer.name), &entry.layer.name);
            let Some(old) = tensors.get(&weight).filter(|old| old.dtype() == burn::tensor::DType::F32) else {
                continue;
            };
            let changed = tempfile::tempdir().unwrap();
            std::fs::copy(folder.join("config.json"), changed.path().join("config.json")).unwrap();
            let (rows, columns) = (old.shape()[0], old.shape()[1]);
            let units: Vec<usize> = UNITS.into_iter().filter(|unit| *unit < width(&entry)).collect();
            let is_unit = |index: usize| match entry.layer.kind {
                LayerKind::GptConv1d => units.contains(&(index % columns)),
                _ => units.contains(&(index / columns)),
            };
            let values = old.iter::<f32>().enumerate().map(|(i, value)| if is_unit(i) { 0.0 } else { value });
            let mut tensors = tensors.clone();
            tensors.insert(weight, TensorData::new(values.collect::<Vec<_>>(), [rows, columns]));
            if let Some(bias) = tensors.get_mut(&format!("{name}.bias")) {
                let mut values: Vec<f32> = bias.iter().collect();
                units.iter().for_each(|unit| values[*unit] = constant(&entry, *unit));
                *bias = TensorData::new(values.clone(), [values.len()]);
            }
            save_tensors(changed.path().join("model.safetensors"), &tensors).unwrap();
            let expected = AnyTransformer::load(changed.path(), &Device::default()).unwrap();
            let expected = result(expected.forward(&inputs).unwrap());

            let constants: Vec<f32> = (0..width(&entry)).map(|unit| constant(&entry, unit)).collect();
            let constants = Replacement::Vector(Tensor::from_floats(&constants[..], &Device::default()));
            let edit = Edit::new(ActivationSite::Layer(name.clone()), constants.clone()).units(units.clone());
            assert_near(&result(run_edited(&model, &inputs, &[edit]).unwrap()), &expected, name);

            let outputs = OutputReplacements::new(&model, std::slice::from_ref(name)).unwrap();
            let kept = (0..width(&entry)).filter(|unit| !units.contains(unit)).collect();
            let (kept, values) = (BTreeMap::from([(name.clone(), kept)]), BTreeMap::from([(name.clone(), constants)]));
            let hook = outputs.hook(&kept, &values, None, &outputs.fixed_products()).unwrap();
            assert_near(&result(model.forward_with(&inputs, hook).unwrap()), &expected, name);
        }
    }
}

#[test]
fn a_head_is_the_part_of_the_output_projection_that_reads_it() {
    for Case { folder, model, inputs } in cases() {
        let tensors = read(&folder.join("model.safetensors"));
        for entry in linear_layers_in_blocks(&model) {
            let input = usize::from(entry.layer.kind != LayerKind::GptConv1d);
            let head = entry.slices.iter().find(|slice| slice.component == Component::Head(1) && slice.axis == input);
            let (Some(head), Location::Block { layer, .. }) = (head, entry.location) else { continue };
            let weight = format!("{}.weight", entry.layer.name);
            let Some(old) = tensors.get(&weight).filter(|old| old.dtype() == burn::tensor::DType::F32) else {
                continue;
            };
            let mut values: Vec<f32> = old.iter().collect();
            for run in head.weight_runs(&entry.layer.shape) {
                values[run].fill(0.0);
            }
            let changed = tempfile::tempdir().unwrap();
            std::fs::copy(folder.join("config.json"), changed.path().join("config.json")).unwrap();
            let mut tensors = tensors.clone();
            tensors.insert(weight, TensorData::new(values, [old.shape()[0], old.shape()[1]]));
            save_tensors(changed.path().join("model.safetensors"), &tensors).unwrap();
            let expected = AnyTransformer::load(changed.path(), &Device::default()).unwrap();
            let expected = result(expected.forward(&inputs).unwrap());
            let edit = Edit::new(ActivationSite::Heads(layer), Replacement::Zero).units([1]);
            assert_near(&result(run_edited(&model, &inputs, &[edit]).unwrap()), &expected, &entry.layer.name);
        }
    }
}

#[test]
fn values_of_another_example_make_the_model_compute_that_example() {
    for Case { model, inputs, .. } in cases() {
        // All rows take the values of the row before them at every position of the last stream.
        let site: ActivationSite = format!("mlp_stream_{}", model.n_layers() - 1).parse().unwrap();
        let (output, recorded) = record_activations(&model, &inputs, std::slice::from_ref(&site)).unwrap();
        let batch = output.last_hidden_state.dims()[0];
        let order: Vec<i64> = (0..batch).map(|row| ((row + batch - 1) % batch) as i64).collect();
        let order = Tensor::<1, burn::tensor::Int>::from_data(TensorData::new(order, [batch]), &Device::default());
        let values = recorded.get(&site).unwrap().select(0, order.clone());
        let edit = Edit::new(site, Replacement::ByToken(values));
        let expected = output.last_hidden_state.select(0, order).into_data();
        let found = result(run_edited(&model, &inputs, &[edit]).unwrap());
        found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
    }
}

#[test]
fn what_a_model_does_not_have_is_named() {
    let Case { model, inputs, .. } = cases().into_iter().find(|case| case.model.model_type() == "gpt2").unwrap();
    let refused = |site: &str, edit: &dyn Fn(Edit) -> Edit| {
        let edit = edit(Edit::new(site.parse().unwrap(), Replacement::Zero));
        run_edited(&model, &inputs, &[edit]).unwrap_err().to_string()
    };
    let whole = |edit: Edit| edit;
    assert!(refused("heads_7", &whole).contains("blocks with heads"), "{}", refused("heads_7", &whole));
    assert!(refused("mlp_update_9", &whole).contains("the model has embeddings"));
    assert!(refused("transformer.h.0.mlp.c_fx", &whole).contains("transformer.h.0.mlp.c_fc"));
    assert!(refused("lm_head", &whole).contains("there is no activation"));
    let error = refused("heads_0", &|edit| edit.units([9]));
    assert!(error.contains("units, counted from 0, and no unit 9"), "{error}");
    let error = refused("heads_0", &|edit| edit.positions([500]));
    assert!(error.contains("position is 500"), "{error}");
    let narrow = Replacement::Vector(Tensor::zeros([3], &Device::default()));
    let error = run_edited(&model, &inputs, &[Edit::new("heads_0".parse().unwrap(), narrow)]).unwrap_err().to_string();
    assert!(error.contains("replacement is [1, 1, 3]"), "{error}");
    let means = ActivationMeans::new(&["heads_0".parse().unwrap()]);
    let error = means.overall(&"heads_0".parse().unwrap(), &Device::default()).unwrap_err().to_string();
    assert!(error.contains("without a real token"), "{error}");
}
