//! Training states of probes, and what their evaluation needs.

use burn::module::Module;
use ns_models::AnyTransformer;
use ns_probe::{CircuitProbe, SubnetworkProbe};

use super::objective::ProbeObjective;
use super::trainer::Trainer;
use crate::error::TrainError;
use crate::evaluate::{Predictions, ProbeEvaluation, SupportSets, predict};

/// Training state of a circuit probe.
pub type ProbeTraining = Trainer<ProbeObjective<CircuitProbe<AnyTransformer>>>;

/// Training state of a subnetwork probe or a linear probe.
pub type SubnetworkTraining = Trainer<ProbeObjective<SubnetworkProbe<AnyTransformer>>>;

impl ProbeTraining {
    /// Prepares the evaluation of the current probe.
    pub(super) fn evaluation(&mut self, support: SupportSets) -> ProbeEvaluation<'_> {
        ProbeEvaluation {
            probe: self.module.valid(),
            data: &*self.data,
            activations: &mut self.objective.activations,
            support,
        }
    }
}

impl SubnetworkTraining {
    /// Measures the accuracy of the current probe on some rows, with hard masks.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if a forward pass fails, and errors of the tokenizer.
    pub fn accuracy(&mut self, rows: &[usize]) -> Result<f64, TrainError> {
        Ok(self.predictions(rows)?.accuracy())
    }

    /// Predicts the labels of some rows with the current probe and hard masks.
    pub(super) fn predictions(&mut self, rows: &[usize]) -> Result<Predictions, TrainError> {
        predict(&self.module.valid(), &*self.data, rows, &mut self.objective.activations)
    }
}
