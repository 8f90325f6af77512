//! A small GPT-2, its model folder and its tensors, for the tests of this crate.

use std::{collections::BTreeMap, path::Path};

use burn::module::Module;
use burn::store::{ModuleSnapshot, bridge};
use burn::tensor::{Device, TensorData};
use serde_json::Value;
use tempfile::TempDir;

use crate::activation::Activation;
use crate::architectures::{Gpt2, Gpt2Config};
use crate::checkpoint::{Checkpoint, Pretrained, save_tensors};
use crate::inputs::ModelInputs;

pub(crate) type Tensors = BTreeMap<String, TensorData>;

/// Two blocks. The weights of the MLP are square, and so is the weight of an untied head, because
/// `vocab_size = n_embd`.
pub(crate) fn config() -> Gpt2Config {
    Gpt2Config {
        vocab_size: 8,
        n_positions: 4,
        n_embd: 8,
        n_layer: 2,
        n_head: 2,
        n_inner: Some(8),
        activation_function: Activation::Relu,
        ..Default::default()
    }
}

/// A model in which all weights are different.
pub(crate) fn model_of(config: &Gpt2Config) -> Gpt2 {
    filled(Gpt2::init(config, &Device::default()).unwrap())
}

/// Fills all float parameters with different values. Running variances are positive.
pub(crate) fn filled<M: Module>(mut model: M) -> M {
    let mut count = 0;
    let tensors: Vec<_> = model
        .collect(None, None, true)
        .into_iter()
        .filter(|tensor| tensor.dtype.is_float())
        .map(|tensor| {
            let shape = tensor.shape.to_vec();
            let offset = if tensor.name.ends_with("running_var") { 1.0 } else { 0.0 };
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| next_value(&mut count) + offset).collect();
            bridge::from_data(TensorData::new(values, shape), tensor.name, None)
        })
        .collect();
    assert!(model.apply(tensors, None, None, true).errors.is_empty());
    model
}

pub(crate) fn model() -> Gpt2 {
    model_of(&config())
}

/// The next value of a sequence in (−0.6, 0.6), without a pattern that is symmetric under a transpose.
fn next_value(count: &mut u32) -> f32 {
    *count += 1;
    (f64::from(*count) * 0.618_033_988_749_895).fract() as f32 * 1.2 - 0.6
}

/// Two sequences, of which the second is padded.
pub(crate) fn inputs() -> ModelInputs {
    let device = Device::default();
    let mask = burn::tensor::Tensor::from_ints([[1, 1, 1, 1], [1, 1, 1, 0]], &device);
    ModelInputs::from_ids(&[[1, 2, 3, 4], [7, 0, 5, 6]], &device).with_attention_mask(mask)
}

/// A folder to which [`model`] is saved.
pub(crate) fn saved() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    model().save(folder.path()).unwrap();
    folder
}

pub(crate) fn read_weights(folder: &Path) -> Tensors {
    let checkpoint = Checkpoint::open_folder(folder).unwrap();
    let read = |name: &str| (name.to_string(), checkpoint.data(name).unwrap().unwrap());
    checkpoint.names().map(read).collect()
}

pub(crate) fn change_weights(folder: &Path, change: impl FnOnce(&mut Tensors)) {
    let mut tensors = read_weights(folder);
    change(&mut tensors);
    save_tensors(folder.join("model.safetensors"), &tensors).unwrap();
}

pub(crate) fn change_config(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}
