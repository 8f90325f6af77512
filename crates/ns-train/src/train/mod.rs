//! Training: the epoch loop ([`Learner`]) and one implementation of [`Trainable`] per kind of recipe.

mod base_model_pool;
mod initialize;
mod learner;

mod arithmetic_model;
mod circuit_probe;
mod subnetwork_probe;
mod task;

pub use arithmetic_model::{ModelTraining, train_model};
pub use base_model_pool::{BaseModelPool, DEFAULT_ACTIVATION_CACHE_MB};
pub use circuit_probe::{ProbeReport, ProbeTraining, train_probe};
pub(crate) use initialize::initialize;
pub use learner::{Learner, Outcome, Trainable};
pub use subnetwork_probe::{SubnetworkTraining, train_subnetwork};
pub use task::{TaskReport, TaskTraining, train_task};
