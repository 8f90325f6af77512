//! The results of a subnetwork probe.

use serde::{Deserialize, Serialize};

use crate::recipe::SubnetworkVariant;

/// One row of `results.json`: a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkRow {
    /// Which one.
    #[serde(flatten)]
    pub variant: SubnetworkVariant,
    /// Seed of the run.
    pub seed: u64,
    /// Share of the training rows whose class it tells.
    pub train_accuracy: f64,
    /// Share of the test rows.
    pub test_accuracy: f64,
    /// Share of the test rows with the class that is most frequent in training.
    pub majority: f64,
    /// Weights that are kept; `None` for plain probing, where all are.
    pub l0: Option<f64>,
    /// Weights that could be.
    pub l0_max: Option<f64>,
}

/// Share of the test rows with the most frequent class of the training rows.
pub(crate) fn majority(labels: &[usize], train: &[usize], test: &[usize]) -> f64 {
    let count = |class: usize, rows: &[usize]| rows.iter().filter(|row| labels[**row] == class).count();
    let classes = labels.iter().copied().max().map_or(0, |most| most + 1);
    let most = (0..classes).max_by_key(|class| count(*class, train)).unwrap_or_default();
    count(most, test) as f64 / test.len().max(1) as f64
}

impl SubnetworkRow {
    /// Share of the masked layers' weights that are kept; 1 for plain probing.
    pub fn share_kept(&self) -> f64 {
        match (self.l0, self.l0_max) {
            (Some(l0), Some(max)) if max > 0.0 => l0 / max,
            _ => 1.0,
        }
    }
}
