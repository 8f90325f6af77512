//! The format of a golden probe case: `case.json` and its input tensors.

use burn::tensor::TensorData;
use ns_models::{ModelInputs, Transformer};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::Tensors;
use crate::batch::ProbeBatch;
use crate::error::ProbeError;

/// A parsed `case.json`.
#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) kind: String,
    pub(super) probe_config: Value,
    pub(super) optimizer: Optimizer,
    pub(super) steps: usize,
    pub(super) initial_temperature: f64,
    pub(super) temperature_every: usize,
    pub(super) temperature_factor: f64,
    label_pad_idx: i64,
}

/// Settings of AdamW, with PyTorch's names.
#[derive(Deserialize)]
pub(super) struct Optimizer {
    pub(super) lr: f64,
    pub(super) betas: [f32; 2],
    pub(super) eps: f32,
    pub(super) weight_decay: f32,
}

/// The batch of the case. The padding label of the case is replaced by `padding`, the one of this crate.
pub(super) fn batch<M: Transformer>(
    case: &Case,
    padding: i64,
    tensors: &Tensors,
    model: &M,
) -> Result<ProbeBatch, ProbeError> {
    let inputs = ModelInputs::from_named(tensors, &model.device())?;
    let token_mask = tensor(tensors, "token_mask")?.iter::<i64>().map(|selected| selected != 0).collect();
    let labels = tensor(tensors, "labels")?.iter::<i64>();
    let labels = labels.map(|label| if label == case.label_pad_idx { padding } else { label }).collect();
    Ok(ProbeBatch { inputs, token_mask, labels, means: Vec::new() })
}

fn tensor<'a>(tensors: &'a Tensors, name: &'static str) -> Result<&'a TensorData, ProbeError> {
    tensors.get(name).ok_or_else(|| invalid("tensors.safetensors", &format!("without `{name}`"), "the case needs it"))
}

pub(super) fn from_json<T: DeserializeOwned>(field: &'static str, json: &Value) -> Result<T, ProbeError> {
    T::deserialize(json)
        .map_err(|error| invalid(field, "not valid", &format!("it must have the format of a case: {error}")))
}

pub(super) fn invalid(field: &'static str, found: &str, expected: &str) -> ProbeError {
    ProbeError::Config { field, found: found.into(), expected: expected.into() }
}
