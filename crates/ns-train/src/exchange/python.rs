//! Exchange with the Python package NeuroSurgeon: mask files, configurations and whole state dicts.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use ns_circuit::{
    CircuitConfig, CircuitModel, LayerKind, MagnitudeCriterion, MaskMethod, MaskedLayer, StateDict,
    save_masks_with_prefix,
};
use ns_models::{AnyModel, save_tensors, write_atomically};
use serde_json::{Value, json};

use super::{
    CircuitFileError, CircuitFiles,
    source::{CONFIG, MASKS, STATE_DICT},
};
use crate::error::TrainError;

/// Prefix of the wrapped model's tensors in the state dict of the Python `CircuitModel`.
const WRAPPER: &str = "wrapped_model.";

/// Writes a circuit's masks to the folder `out`: `masks.safetensors`, with `prefix` before every name, and
/// `circuit_config.json`, which holds the arguments of `CircuitConfig(**…)` in Python.
///
/// # Errors
/// Returns [`TrainError::Io`] or [`ns_circuit::CircuitError::Io`] if a file cannot be written.
pub fn export_masks(circuit: &CircuitModel<AnyModel>, prefix: &str, out: impl AsRef<Path>) -> Result<(), TrainError> {
    let out = out.as_ref();
    std::fs::create_dir_all(out).map_err(TrainError::io("create", out))?;
    save_masks_with_prefix(out.join(MASKS), circuit, prefix)?;
    write_config(circuit.config(), out)
}

/// Writes a circuit with its base weights to the folder `out`: `state_dict.safetensors`, which the Python
/// `CircuitModel` loads with `strict=True`, and `circuit_config.json`.
///
/// # Errors
/// Returns [`TrainError::Io`] or [`ns_models::ModelError::Io`] if a file cannot be written.
pub fn export_state_dict(circuit: &CircuitModel<AnyModel>, out: impl AsRef<Path>) -> Result<(), TrainError> {
    let out = out.as_ref();
    std::fs::create_dir_all(out).map_err(TrainError::io("create", out))?;
    let mut tensors = circuit.base().state_dict()?;
    tensors.extend(circuit.mask_params());
    for layer in circuit.layers() {
        tensors.extend(convolution_copies(&layer, &tensors));
    }
    let wrapped: BTreeMap<_, _> = tensors.into_iter().map(|(name, data)| (format!("{WRAPPER}{name}"), data)).collect();
    save_tensors(out.join(STATE_DICT), &wrapped)?;
    write_config(circuit.config(), out)
}

/// Returns the tensors `_base_layer.*` of a masked convolution. The Python package keeps this second copy of the
/// parameters in its state dict but never reads it.
fn convolution_copies(layer: &MaskedLayer, tensors: &BTreeMap<String, TensorData>) -> Vec<(String, TensorData)> {
    if matches!(layer.kind, LayerKind::Linear | LayerKind::GptConv1d) {
        return Vec::new();
    }
    let copy = |leaf| {
        let data = tensors.get(&format!("{}.{leaf}", layer.name))?;
        Some((format!("{}._base_layer.{leaf}", layer.name), data.clone()))
    };
    ["weight", "bias"].into_iter().filter_map(copy).collect()
}

/// Checks that the base weights in a state dict of the Python package equal the weights of the circuit's model. Returns
/// the number of compared tensors, which is 0 for a mask file.
///
/// # Errors
/// Returns [`CircuitFileError::OtherBase`] with the differences if a tensor differs.
pub fn check_base(files: &CircuitFiles, circuit: &CircuitModel<AnyModel>) -> Result<usize, TrainError> {
    let state = StateDict::read(&files.masks)?;
    let (mut compared, mut differences) = (0, Vec::new());
    for (name, own) in circuit.base().tensors()? {
        let Some(found) = state.get(&name) else { continue };
        compared += 1;
        differences.extend(difference(&own, found).map(|difference| format!("`{name}` {difference}")));
    }
    match differences.is_empty() {
        true => Ok(compared),
        false => Err(CircuitFileError::OtherBase { state_dict: files.masks.clone(), differences }.into()),
    }
}

/// Describes how the tensor `found` differs from the model's own; `None` if they are equal.
fn difference(own: &TensorData, found: &TensorData) -> Option<String> {
    if own.shape() != found.shape() {
        return Some(format!("has shape {:?}, not {:?}", found.shape().to_vec(), own.shape().to_vec()));
    }
    let pairs = own.iter::<f32>().zip(found.iter::<f32>());
    let (differ, largest) = pairs
        .filter(|(a, b)| a.to_bits() != b.to_bits() && a != b)
        .fold((0, 0.0_f32), |(count, largest), (a, b)| (count + 1, largest.max((a - b).abs())));
    (differ > 0).then(|| format!("differs in {differ} of {} values, by up to {largest:.1e}", own.num_elements()))
}

fn write_config(config: &CircuitConfig, out: &Path) -> Result<(), TrainError> {
    let path = out.join(CONFIG);
    let failed = |error: serde_json::Error| TrainError::io("write", &path)(error.into());
    // Goes through text, so that an f32 such as 0.1 is written with its shortest decimal form.
    let text = serde_json::to_string(config).map_err(failed)?;
    let mut value: Value = serde_json::from_str(&text).map_err(failed)?;
    if let MaskMethod::MagnitudePruning { criterion, .. } = config.mask_method {
        let is_raw = criterion == MagnitudeCriterion::Raw;
        value["mask_hparams"]["criterion"] = json!(if is_raw { "raw" } else { "absolute" });
    }
    write_atomically(&path, format!("{value:#}\n").as_bytes()).map_err(TrainError::io("write", &path))
}
