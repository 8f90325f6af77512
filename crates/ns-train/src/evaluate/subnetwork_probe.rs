//! Results of a subnetwork probe.

use serde::{Deserialize, Serialize};

use crate::recipe::SubnetworkVariant;

/// Results of one subnetwork probe: a row of `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkRow {
    /// The variant of the recipe that was trained.
    #[serde(flatten)]
    pub variant: SubnetworkVariant,
    /// Seed of the run.
    pub seed: u64,
    /// Accuracy on the training rows.
    pub train_accuracy: f64,
    /// Accuracy on the test rows.
    pub test_accuracy: f64,
    /// Accuracy on the test rows of always predicting the most frequent class of the training rows.
    pub majority: f64,
    /// Number of weights in the circuit; `None` for plain probing, which has no masks.
    pub l0: Option<f64>,
    /// Number of masked weights; `None` for plain probing.
    pub l0_max: Option<f64>,
}

impl SubnetworkRow {
    /// Fraction of the masked layers' weights that are in the circuit; 1 for plain probing.
    pub fn share_kept(&self) -> f64 {
        match (self.l0, self.l0_max) {
            (Some(l0), Some(max)) if max > 0.0 => l0 / max,
            _ => 1.0,
        }
    }
}
