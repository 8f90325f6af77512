//! Training: one [`Trainer`] for every [`Objective`] and every data set, its epoch loop ([`Learner`]), and one objective
//! per kind of recipe.

mod base_model;
mod base_model_pool;
mod initialize;
mod learner;
mod memory;
mod objective;
mod trainer;

mod arithmetic_model;
mod circuit_probe;
mod job;
mod probe_run;
mod subnetwork_probe;
mod task;

pub use arithmetic_model::{ModelTraining, NextTokenObjective, train_model};
pub use base_model::sites_of_pattern;
pub use base_model_pool::{BaseModelPool, DEFAULT_ACTIVATION_CACHE_MB};
pub use circuit_probe::{ProbeReport, ProbeTraining, train_probe};
#[cfg(any(test, feature = "bench"))]
pub(crate) use initialize::initialize;
pub use job::{Job, RunReport, TrainingReport};
pub use learner::{Learner, Outcome, Trainable};
pub use objective::{Objective, ProbeObjective};
pub use subnetwork_probe::{SubnetworkTraining, train_subnetwork};
pub use task::{TaskObjective, TaskReport, TaskTraining, train_task};
pub use trainer::Trainer;
