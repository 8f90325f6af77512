//! Runs a golden case of a probe: the first training step, a training run, and an evaluation with the final parameters.
//!
//! A golden case holds reference data from PyTorch. The caller compares the tensors that are produced here with the
//! expected tensors of the case.

mod case;
mod subject;

use std::collections::BTreeMap;

use burn::module::ModuleDisplay;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::TensorData;
use ns_circuit::{AdamW, L0Statistics};
use ns_models::Transformer;
use serde_json::Value;

use self::case::{Case, Optimizer, from_json, invalid};
use self::subject::{Forward, Subject};
use crate::batch::{CIRCUIT_LABEL_PADDING, ProbeBatch, SUBNETWORK_LABEL_PADDING};
use crate::circuit_probe::CircuitProbe;
use crate::error::ProbeError;
use crate::subnetwork_probe::SubnetworkProbe;

type Tensors = BTreeMap<String, TensorData>;

/// Names of the input tensors in a probe case, in addition to `init.*`. All other tensors of the case are expected
/// outputs of [`run_probe_case`].
pub const PROBE_CASE_INPUTS: [&str; 6] =
    ["input_ids", "attention_mask", "token_type_ids", "pixel_values", "labels", "token_mask"];

/// Runs a golden case of a probe and returns all outputs by name.
///
/// `case` is the contents of its `case.json`. `model` must be on a device with autodiff. Scalar outputs have shape
/// `[1]`.
///
/// # Errors
/// Returns [`ProbeError::Config`] or [`ProbeError::Batch`] for an inconsistent case, and errors of the probe.
pub fn run_probe_case<M: Transformer + ModuleDisplay>(
    case: &Value,
    tensors: &BTreeMap<String, TensorData>,
    model: M,
) -> Result<BTreeMap<String, TensorData>, ProbeError> {
    let case: Case = from_json("case.json", case)?;
    match case.kind.as_str() {
        "circuit_probe" => {
            let config = from_json("probe_config", &case.probe_config)?;
            let batch = case::batch(&case, CIRCUIT_LABEL_PADDING, tensors, &model)?;
            ProbeCaseRun { case, batch, tensors }.all(CircuitProbe::new(config, model)?)
        }
        "subnetwork_probe" => {
            let config = from_json("probe_config", &case.probe_config)?;
            let batch = case::batch(&case, SUBNETWORK_LABEL_PADDING, tensors, &model)?;
            ProbeCaseRun { case, batch, tensors }.all(SubnetworkProbe::new(config, model, 0)?)
        }
        other => Err(invalid("kind", other, "it must be circuit_probe or subnetwork_probe")),
    }
}

struct ProbeCaseRun<'a> {
    case: Case,
    batch: ProbeBatch,
    tensors: &'a Tensors,
}

impl ProbeCaseRun<'_> {
    fn all<S: Subject>(&self, mut probe: S) -> Result<Tensors, ProbeError> {
        probe.load(self.with_prefix("init."))?;
        let mut produced = self.first_step(&mut probe)?;
        let (probe, trajectory) = self.train(probe)?;
        produced.extend(trajectory);
        produced.extend(self.evaluate(probe)?);
        Ok(produced)
    }

    /// Forward and backward pass with the initial parameters.
    fn first_step<S: Subject>(&self, probe: &mut S) -> Result<Tensors, ProbeError> {
        probe.circuit_mut().set_temperature(self.case.initial_temperature as f32)?;
        let Forward { vectors, losses, logits } = probe.forward(&self.batch)?;
        let mut produced = Tensors::from([
            ("updates".into(), vectors.into_data()),
            ("loss".into(), losses.total.clone().into_data()),
            ("loss_without_l0".into(), losses.without_l0.into_data()),
            ("l0_train".into(), probe.circuit().l0_training().into_data()),
        ]);
        produced.extend(logits.map(|logits| ("logits".into(), logits.into_data())));
        let gradients = probe.gradients(&losses.total.backward());
        produced.extend(gradients.into_iter().map(|(name, data)| (format!("grad.{name}"), data)));
        Ok(produced)
    }

    /// Trains for the steps of the case; returns the trained probe, the losses and the final parameters.
    fn train<S: Subject>(&self, mut probe: S) -> Result<(S, Tensors), ProbeError> {
        let case = &self.case;
        let Optimizer { betas, eps: epsilon, weight_decay, .. } = case.optimizer;
        let mut optimizer: ModuleOptimizer = AdamW { betas, epsilon, weight_decay }.into();
        let mut temperature = case.initial_temperature;
        let mut losses = Vec::<f32>::with_capacity(case.steps);
        for step in 0..case.steps {
            let loss = probe.forward(&self.batch)?.losses.total;
            losses.push(loss.clone().into_scalar());
            let gradients = GradientsParams::from_grads(loss.backward(), &probe);
            probe = optimizer.step(case.optimizer.lr, probe, gradients);
            if (step + 1).is_multiple_of(case.temperature_every.max(1)) {
                temperature *= case.temperature_factor;
                probe.circuit_mut().set_temperature(temperature as f32)?;
            }
        }
        let mut produced = Tensors::from([
            ("losses".into(), TensorData::from(losses.as_slice())),
            ("final_temperature".into(), scalar(temperature)),
        ]);
        produced.extend(probe.params().into_iter().map(|(name, data)| (format!("final.{name}"), data)));
        Ok((probe, produced))
    }

    /// Evaluates the probe with the expected final parameters, so that rounding differences of training do not affect
    /// the comparison.
    fn evaluate<S: Subject>(&self, mut probe: S) -> Result<Tensors, ProbeError> {
        probe.load(self.with_prefix("final."))?;
        let probe = probe.valid();
        let Forward { vectors, losses, logits } = probe.forward(&self.batch)?;
        let L0Statistics { weights, max_weights, layers, .. } = probe.circuit().l0();
        let count = |count| scalar(count as f64);
        let mut produced = Tensors::from([
            ("eval_updates".into(), vectors.into_data()),
            ("eval_loss".into(), losses.total.into_data()),
            ("l0_total".into(), count(weights)),
            ("l0_max".into(), count(max_weights)),
        ]);
        produced.extend(logits.map(|logits| ("eval_logits".into(), logits.into_data())));
        produced.extend(layers.into_iter().map(|layer| (format!("l0_layer.{}", layer.name), count(layer.weights))));
        Ok(produced)
    }

    /// The tensors of the case whose names start with `prefix`, with the prefix removed.
    fn with_prefix(&self, prefix: &str) -> Tensors {
        let stripped = |(name, data): (&String, &TensorData)| Some((name.strip_prefix(prefix)?.into(), data.clone()));
        self.tensors.iter().filter_map(stripped).collect()
    }
}

fn scalar(value: f64) -> TensorData {
    TensorData::from([value as f32])
}
