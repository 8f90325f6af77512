//! Training: one [`Trainer`] for every [`Objective`] and every data set, its epoch loop ([`Learner`]), and one objective
//! per kind of recipe.

mod base_model;
mod base_model_pool;
mod initialize;
mod learner;
mod memory;
mod objective;
mod trainer;

mod ablate_run;
mod activations;
mod attribution_run;
mod behaviour;
mod circuit_test_run;
mod curve_run;
mod finished_run;
mod job;
mod judged_run;
mod patching;
mod probe_measures;
mod probe_run;
mod probe_training;
mod probes;
mod regression;
mod resize;
mod task;
mod task_measures;
mod task_run;
#[cfg(test)]
mod tests;

pub use ablate_run::ablate_run;
pub use activations::{Activations, WrittenActivations};
pub use base_model::sites_of_pattern;
pub use base_model_pool::{BaseModelPool, DEFAULT_ACTIVATION_CACHE_MB};
pub use circuit_test_run::{CircuitTestReport, test_circuit_of_run};
pub use curve_run::{CurveReport, CurveSettings, FoundCircuit, circuit_of_run, curve_of_run, smallest_circuit};
pub use finished_run::evaluate_run;
#[cfg(any(test, feature = "bench"))]
pub(crate) use initialize::initialize;
pub use job::{Job, RunReport, TrainingReport};
pub use learner::{Learner, Outcome, Trainable};
pub use objective::{Objective, ProbeObjective};
pub use patching::Patching;
pub use probe_training::{ProbeTraining, SubnetworkTraining};
pub use resize::{ResizedCircuit, resize_circuit};
pub use task::{TaskObjective, TaskTraining};
pub use trainer::Trainer;
