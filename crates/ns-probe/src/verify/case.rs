//! The format of a golden probe case: `case.json` and its input tensors.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use ns_models::{ModelInputs, Transformer};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::batch::ProbeBatch;
use crate::config::{CircuitProbeConfig, SubnetworkProbeConfig};
use crate::error::ProbeError;

/// A parsed `case.json`.
pub(super) struct Case {
    pub(super) kind: ProbeKind,
    pub(super) optimizer: Optimizer,
    pub(super) steps: usize,
    pub(super) initial_temperature: f64,
    pub(super) temperature_every: usize,
    pub(super) temperature_factor: f64,
    label_pad_idx: i64,
}

#[derive(Clone)]
pub(super) enum ProbeKind {
    Circuit(CircuitProbeConfig),
    Subnetwork(SubnetworkProbeConfig),
}

/// Settings of AdamW, with PyTorch's names.
#[derive(Deserialize)]
pub(super) struct Optimizer {
    pub(super) lr: f64,
    pub(super) betas: [f32; 2],
    pub(super) eps: f32,
    pub(super) weight_decay: f32,
}

#[derive(Deserialize)]
struct CaseFile {
    kind: String,
    probe_config: Value,
    optimizer: Optimizer,
    steps: usize,
    initial_temperature: f64,
    temperature_every: usize,
    temperature_factor: f64,
    label_pad_idx: i64,
}

impl Case {
    pub(super) fn read(json: &Value) -> Result<Self, ProbeError> {
        let file: CaseFile = from_json("case.json", json)?;
        let kind = match file.kind.as_str() {
            "circuit_probe" => ProbeKind::Circuit(from_json("probe_config", &file.probe_config)?),
            "subnetwork_probe" => ProbeKind::Subnetwork(from_json("probe_config", &file.probe_config)?),
            other => {
                return Err(invalid("kind", other, "it must be circuit_probe or subnetwork_probe"));
            }
        };
        Ok(Self {
            kind,
            optimizer: file.optimizer,
            steps: file.steps,
            initial_temperature: file.initial_temperature,
            temperature_every: file.temperature_every.max(1),
            temperature_factor: file.temperature_factor,
            label_pad_idx: file.label_pad_idx,
        })
    }
}

/// The batch of the case. The padding label of the case is replaced by the one of this crate.
pub(super) fn batch<M: Transformer>(
    case: &Case,
    tensors: &BTreeMap<String, TensorData>,
    model: &M,
) -> Result<ProbeBatch, ProbeError> {
    let padding = match case.kind {
        ProbeKind::Circuit(_) => crate::CIRCUIT_LABEL_PADDING,
        ProbeKind::Subnetwork(_) => crate::SUBNETWORK_LABEL_PADDING,
    };
    let inputs = ModelInputs::from_named(tensors, &model.device())?;
    let token_mask = tensor(tensors, "token_mask")?.iter::<i64>().map(|selected| selected != 0).collect();
    let labels = tensor(tensors, "labels")?.iter::<i64>();
    let labels = labels.map(|label| if label == case.label_pad_idx { padding } else { label }).collect();
    Ok(ProbeBatch { inputs, token_mask, labels })
}

fn tensor<'a>(tensors: &'a BTreeMap<String, TensorData>, name: &'static str) -> Result<&'a TensorData, ProbeError> {
    tensors.get(name).ok_or_else(|| invalid("tensors.safetensors", &format!("without `{name}`"), "the case needs it"))
}

fn from_json<T: DeserializeOwned>(field: &'static str, json: &Value) -> Result<T, ProbeError> {
    T::deserialize(json)
        .map_err(|error| invalid(field, "not valid", &format!("it must have the format of a case: {error}")))
}

fn invalid(field: &'static str, found: &str, expected: &str) -> ProbeError {
    ProbeError::Config { field, found: found.into(), expected: expected.into() }
}
