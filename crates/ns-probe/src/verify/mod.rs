//! Runs one golden probe case: the first step, a training trajectory, and evaluation with the final masks.
//!
//! The caller compares what is produced here with what the case expects, name by name.

mod case;
mod subject;

use std::collections::BTreeMap;

use burn::module::ModuleDisplay;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Tensor, TensorData};
use ns_circuit::{AdamW, L0Statistics};
use ns_models::Transformer;
use serde_json::Value;

use self::case::{Case, Optimizer, ProbeKind};
use self::subject::{Forward, Subject};
use crate::batch::ProbeBatch;
use crate::circuit_probe::CircuitProbe;
use crate::error::ProbeError;
use crate::subnetwork_probe::SubnetworkProbe;

/// The tensors that a probe case gives, besides `init.*`. Whatever else is in its file is expected of
/// [`run_probe_case`].
pub const PROBE_CASE_INPUTS: [&str; 6] =
    ["input_ids", "attention_mask", "token_type_ids", "pixel_values", "labels", "token_mask"];

/// Runs the case that `case` (its `case.json`) describes on `model`, loaded on an autodiff device, and returns all that
/// such a case can expect, by name; scalars have shape `[1]`.
///
/// # Errors
/// [`ProbeError::Batch`] or [`ProbeError::Config`] for a case that does not fit together, and errors of the probe.
pub fn run_probe_case<M: Transformer + ModuleDisplay>(
    case: &Value,
    tensors: &BTreeMap<String, TensorData>,
    model: M,
) -> Result<BTreeMap<String, TensorData>, ProbeError> {
    let case = Case::read(case)?;
    let batch = case::batch(&case, tensors, &model)?;
    match case.kind.clone() {
        ProbeKind::Circuit(config) => Run { case, batch, tensors }.all(CircuitProbe::new(config, model)?),
        ProbeKind::Subnetwork(config) => Run { case, batch, tensors }.all(SubnetworkProbe::new(config, model, 0)?),
    }
}

struct Run<'a> {
    case: Case,
    batch: ProbeBatch,
    tensors: &'a BTreeMap<String, TensorData>,
}

type Produced = BTreeMap<String, TensorData>;

impl Run<'_> {
    fn all<S: Subject>(&self, probe: S) -> Result<Produced, ProbeError> {
        let probe = probe.load(self.with_prefix("init."))?;
        let mut produced = self.first_step(&probe)?;
        let (probe, trajectory) = self.train(probe)?;
        produced.extend(trajectory);
        produced.extend(self.evaluate(probe)?);
        Ok(produced)
    }

    fn first_step<S: Subject>(&self, probe: &S) -> Result<Produced, ProbeError> {
        probe.set_temperature(self.case.initial_temperature)?;
        let Forward { vectors, loss, loss_without_l0, logits } = probe.forward(&self.batch)?;
        let mut produced = Produced::from([
            ("updates".into(), vectors.into_data()),
            ("loss".into(), loss.clone().into_data()),
            ("l0_train".into(), probe.l0_training().into_data()),
        ]);
        let optional =
            [("loss_without_l0", loss_without_l0.map(Tensor::into_data)), ("logits", logits.map(Tensor::into_data))];
        produced.extend(optional.into_iter().filter_map(|(name, data)| Some((name.into(), data?))));
        let gradients = probe.gradients(&loss.backward());
        produced.extend(gradients.into_iter().map(|(name, data)| (format!("grad.{name}"), data)));
        Ok(produced)
    }

    fn train<S: Subject>(&self, mut probe: S) -> Result<(S, Produced), ProbeError> {
        let case = &self.case;
        let Optimizer { betas, eps: epsilon, weight_decay, .. } = case.optimizer;
        let mut optimizer: ModuleOptimizer = AdamW { betas, epsilon, weight_decay }.into();
        let mut temperature = case.initial_temperature;
        let mut losses = Vec::<f32>::with_capacity(case.steps);
        for step in 0..case.steps {
            let loss = probe.forward(&self.batch)?.loss;
            losses.push(loss.clone().into_scalar());
            let gradients = GradientsParams::from_grads(loss.backward(), &probe);
            probe = optimizer.step(case.optimizer.lr, probe, gradients);
            if (step + 1) % case.temperature_every == 0 {
                temperature *= case.temperature_factor;
                probe.set_temperature(temperature)?;
            }
        }
        let mut produced = Produced::from([
            ("losses".into(), TensorData::from(losses.as_slice())),
            ("final_temperature".into(), scalar(temperature)),
        ]);
        produced.extend(probe.params().into_iter().map(|(name, data)| (format!("final.{name}"), data)));
        Ok((probe, produced))
    }

    /// With the expected final parameters, so that drift in training does not hide what evaluation does.
    fn evaluate<S: Subject>(&self, probe: S) -> Result<Produced, ProbeError> {
        let probe = probe.load(self.with_prefix("final."))?.valid();
        let Forward { vectors, loss, logits, .. } = probe.forward(&self.batch)?;
        let L0Statistics { total, max, layers } = probe.l0();
        let mut produced = Produced::from([
            ("eval_updates".into(), vectors.into_data()),
            ("eval_loss".into(), loss.into_data()),
            ("l0_total".into(), scalar(total)),
            ("l0_max".into(), scalar(max)),
        ]);
        produced.extend(logits.map(|logits| ("eval_logits".into(), logits.into_data())));
        produced.extend(layers.into_iter().map(|layer| (format!("l0_layer.{}", layer.name), scalar(layer.l0))));
        Ok(produced)
    }

    fn with_prefix(&self, prefix: &str) -> Produced {
        let stripped = |(name, data): (&String, &TensorData)| Some((name.strip_prefix(prefix)?.into(), data.clone()));
        self.tensors.iter().filter_map(stripped).collect()
    }
}

fn scalar(value: f64) -> TensorData {
    TensorData::from([value as f32])
}
