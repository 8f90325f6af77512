//! Golden cases of interventions: ablations of chosen units, activation patching, gradients of activations and of masks.

mod ablation;
mod attribution;
mod masks;
mod patching;

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_models::{AnyTransformer, Logits, Model, ModelInputs, ModelOutput, Site, Sublayer, Vector};
use ns_probe::{ActivationSite, ProbeError};
use serde_json::Value;

use super::compare::magnitude;
use super::models::read_labels;
use super::{TensorComparison, Tensors, ToleranceKind::Absolute, compare_all, invalid, read_json, read_tensors};
use crate::error::TrainError;

pub(super) fn run(folder: &Path, device: &Device) -> Result<Vec<TensorComparison>, TrainError> {
    let case = Case::read(folder, device)?;
    let mut comparisons = Vec::new();
    for (file, produce) in [
        ("ablation.safetensors", ablation::produce as fn(&Case) -> Result<Tensors, TrainError>),
        ("patching.safetensors", patching::produce),
        ("attribution.safetensors", attribution::produce),
        ("masks.safetensors", masks::produce),
    ] {
        let path = folder.join(file);
        let expected = read_tensors(&path)?;
        let mut produced = produce(&case)?;
        for (name, data) in &mut produced {
            reshape_heads(data, expected.get(name));
        }
        comparisons.extend(compare_all(&expected, &produced, tolerance));
    }
    Ok(comparisons)
}

/// Gives an activation of heads, `[…, width]`, the expected shape `[…, heads, head_dim]`.
fn reshape_heads(data: &mut TensorData, expected: Option<&TensorData>) {
    if let Some(expected) = expected.filter(|expected| expected.num_elements() == data.num_elements()) {
        *data = TensorData::new(data.iter::<f32>().collect::<Vec<_>>(), expected.shape().to_vec());
    }
}

fn tolerance(name: &str, expected: &TensorData) -> (super::ToleranceKind, f64) {
    let is_gradient = [".grad.", ".score.", ".average."].iter().any(|part| name.contains(part));
    (Absolute, if is_gradient { (1e-3 * magnitude(expected)).max(1e-6) } else { 1e-4 })
}

/// A case: a model with three batches of inputs and what is measured on them.
struct Case {
    /// On a device with autodiff, which only the gradients need.
    model: AnyTransformer,
    json: Value,
    clean: ModelInputs,
    source: ModelInputs,
    corrupted: ModelInputs,
    labels: TensorData,
    /// Logit indices of the right answer, then of the wrong one, and the position where they are read.
    answers: [Vec<i64>; 2],
    last: Option<Vec<i64>>,
}

impl Case {
    fn read(folder: &Path, device: &Device) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let tensors = read_tensors(&folder.join("inputs.safetensors"))?;
        let inputs = |prefix: &str| {
            let named =
                tensors.iter().filter_map(|(name, data)| Some((name.strip_prefix(prefix)?.into(), data.clone())));
            ModelInputs::from_named(&named.collect(), &device)
        };
        let given = |name: &str| tensors.get(name).cloned();
        let needed = |name: &'static str| given(name).ok_or_else(|| invalid(name, "missing", "the case needs it"));
        let integers = |data: TensorData| data.iter::<i64>().collect();
        Ok(Self {
            model: AnyTransformer::load(folder, &device)?,
            json: read_json(&folder.join("case.json"))?,
            clean: inputs("")?,
            source: inputs("source.")?,
            corrupted: inputs("corrupted.")?,
            labels: needed("labels")?,
            answers: [integers(needed("answer")?), integers(needed("wrong")?)],
            last: given("last").map(integers),
        })
    }

    /// The strings of a list in `case.json`.
    fn names(&self, key: &str) -> Vec<String> {
        strings(&self.json[key])
    }

    fn count(&self, key: &str) -> usize {
        self.json[key].as_u64().unwrap_or_default() as usize
    }

    /// Logit of the right answer minus that of the wrong one, `[batch]`.
    fn metric(&self, output: &ModelOutput) -> Result<Tensor<1>, ProbeError> {
        let logits = match (output.logits.clone(), &self.last) {
            (Some(Logits::Tokens(logits)), Some(last)) => at(logits, last),
            (Some(Logits::Sequences(logits)), _) => logits,
            _ => {
                let expected = "the metric needs logits of sequences, or of tokens with their positions";
                return Err(ProbeError::Batch { what: "logits", found: "others".into(), expected: expected.into() });
            }
        };
        let [right, wrong] = self.answers.each_ref().map(|answers| chosen(logits.clone(), answers));
        Ok(right - wrong)
    }

    /// Sum of the metric over the rows, `[1]`.
    fn total(&self, output: &ModelOutput) -> Result<Tensor<1>, ProbeError> {
        Ok(self.metric(output)?.sum())
    }

    /// Mean cross-entropy of the head, `[1]`.
    fn loss(&self, output: &ModelOutput) -> Result<Tensor<1>, TrainError> {
        let labels = read_labels(self.labels.clone(), &self.model, &self.model.device())?;
        Ok(self.model.task_loss(&self.clean, output.logits.clone(), &labels)?.loss)
    }

    /// Like [`Self::loss`]; labels that the head does not fit are an error of the batch.
    fn probe_loss(&self, output: &ModelOutput) -> Result<Tensor<1>, ProbeError> {
        self.loss(output).map_err(|error| ProbeError::Batch {
            what: "labels",
            found: error.to_string(),
            expected: "they must fit the head of the model".into(),
        })
    }

    /// Adds logits, loss and metric of a forward pass, with a prefix.
    fn add_results(&self, produced: &mut Tensors, prefix: &str, output: &ModelOutput) -> Result<(), TrainError> {
        if let Some(logits) = output.logits.clone() {
            produced.insert(format!("{prefix}logits"), logits.into_data());
        }
        produced.insert(format!("{prefix}loss"), self.loss(output)?.into_data());
        produced.insert(format!("{prefix}metric"), self.metric(output)?.into_data());
        Ok(())
    }
}

/// The site that a case calls `resid.<i>`, `mid.<i>`, `mlp.<i>`, `head.<i>` or by the name of a layer.
fn site(name: &str) -> Result<ActivationSite, TrainError> {
    let Some((kind, layer)) = name.rsplit_once('.').and_then(|(kind, i)| Some((kind, i.parse::<usize>().ok()?))) else {
        return Ok(name.parse()?);
    };
    let residual = |sublayer, vector, layer| ActivationSite::Residual(Site::new(sublayer, vector, layer));
    Ok(match (kind, layer) {
        ("resid", 0) => Site::Embeddings.into(),
        ("resid", layer) => residual(Sublayer::Mlp, Vector::Stream, layer - 1),
        ("mid", layer) => residual(Sublayer::Attn, Vector::Stream, layer),
        ("mlp", layer) => residual(Sublayer::Mlp, Vector::Update, layer),
        ("head", layer) => ActivationSite::Heads(layer),
        _ => name.parse()?,
    })
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_string())).collect()
}

fn indices(list: &Value) -> Vec<usize> {
    list.as_array().into_iter().flatten().filter_map(|index| Some(index.as_u64()? as usize)).collect()
}

/// The vector of each row at its position, `[batch, width]`.
fn at(values: Tensor<3>, positions: &[i64]) -> Tensor<2> {
    let [batch, seq, width] = values.dims();
    let rows: Vec<i64> =
        positions.iter().enumerate().map(|(row, position)| row as i64 * seq as i64 + position).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [batch]), &values.device());
    values.reshape([batch * seq, width]).select(0, rows)
}

/// The value of each row in its column, `[batch]`.
fn chosen(values: Tensor<2>, columns: &[i64]) -> Tensor<1> {
    let [batch, _] = values.dims();
    let columns = Tensor::<2, Int>::from_data(TensorData::new(columns.to_vec(), [batch, 1]), &values.device());
    values.gather(1, columns).reshape([batch])
}
