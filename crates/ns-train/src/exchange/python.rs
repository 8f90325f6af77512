//! Between here and the Python reference: masks, configurations, whole state dicts.

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

/// What the reference's `CircuitModel` puts before the names of the model in it.
const WRAPPER: &str = "wrapped_model.";

/// Writes `masks.safetensors`, with `prefix` before every name, and `circuit_config.json`, which is
/// `CircuitConfig(**…)` in Python.
///
/// # Errors
/// [`TrainError::Io`], [`ns_circuit::CircuitError::Io`].
pub fn export_masks(circuit: &CircuitModel<AnyModel>, prefix: &str, out: &Path) -> Result<(), TrainError> {
    std::fs::create_dir_all(out).map_err(TrainError::io("make", out))?;
    save_masks_with_prefix(out.join(MASKS), circuit, prefix)?;
    write_config(circuit.config(), out)
}

/// Writes `state_dict.safetensors`, which a `CircuitModel` of the reference loads strictly, and `circuit_config.json`.
///
/// # Errors
/// [`TrainError::Io`], [`ns_models::ModelError::Io`].
pub fn export_state_dict(circuit: &CircuitModel<AnyModel>, out: &Path) -> Result<(), TrainError> {
    std::fs::create_dir_all(out).map_err(TrainError::io("make", out))?;
    let mut tensors = circuit.unmasked().state_dict()?;
    tensors.extend(circuit.mask_params());
    for layer in circuit.layers() {
        tensors.extend(convolution_copies(&layer, &tensors));
    }
    let wrapped: BTreeMap<_, _> = tensors.into_iter().map(|(name, data)| (format!("{WRAPPER}{name}"), data)).collect();
    save_tensors(&out.join(STATE_DICT), &wrapped)?;
    write_config(circuit.config(), out)
}

/// The second copy of its parameters that the reference's masked convolution has, and never reads.
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

/// Compares the base weights in a state dict of the reference with those of the model, bit for bit; gives how many were
/// compared, which is 0 for a file of masks.
///
/// # Errors
/// [`CircuitFileError::OtherBase`], which says what differs.
pub fn check_base(files: &CircuitFiles, circuit: &CircuitModel<AnyModel>) -> Result<usize, TrainError> {
    let state = StateDict::read(&files.masks)?;
    let (mut compared, mut differences) = (0, Vec::new());
    for (name, own) in circuit.unmasked().tensors()? {
        let Some(found) = state.get(&name) else { continue };
        compared += 1;
        differences.extend(difference(&own, found).map(|how| format!("`{name}` {how}")));
    }
    match differences.is_empty() {
        true => Ok(compared),
        false => Err(CircuitFileError::OtherBase { state_dict: files.masks.clone(), differences }.into()),
    }
}

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
    // By way of text, so that an f32 is written as the short number that it is.
    let text = serde_json::to_string(config).map_err(failed)?;
    let mut value: Value = serde_json::from_str(&text).map_err(failed)?;
    if let MaskMethod::MagnitudePruning { criterion, .. } = config.mask_method {
        let is_raw = criterion == MagnitudeCriterion::Raw;
        value["mask_hparams"]["criterion"] = json!(if is_raw { "raw" } else { "absolute" });
    }
    write_atomically(&path, format!("{value:#}\n").as_bytes()).map_err(TrainError::io("write", &path))
}
