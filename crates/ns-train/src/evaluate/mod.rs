//! Evaluation of trained models and circuits: accuracy, 1-nearest-neighbour accuracy of probed vectors, and ablations
//! with random controls.

mod ablation_study;
mod accuracy;
mod circuit_probe;
mod classifier;
mod regression;
mod row;
mod scores;
mod subnetwork_probe;
mod task;

pub use ablation_study::{AblationReport, AblationRow, AblationStudy, Behaviour, Controls};
pub(crate) use accuracy::accuracy;
pub use circuit_probe::ProbeRow;
pub(crate) use circuit_probe::{ProbeEvaluation, SupportSets, TaskAccuracies, mask_init_value, mask_quantiles};
pub(crate) use classifier::{Predictions, outputs, predict};
pub(crate) use regression::{Fit, LabelScale};
#[cfg(test)]
pub(crate) use row::tests::row as some_row;
pub use row::{Measures, Row};
pub(crate) use scores::{answer_scores, last_logits, scores_of};
pub use subnetwork_probe::SubnetworkRow;
pub use task::{CircuitRow, ablate_run};
pub(crate) use task::{circuit_row, test_accuracy};
