//! Recipe of a model that is trained on arithmetic from scratch.

use serde::{Deserialize, Serialize};

use super::OptimizerRecipe;
use crate::data::Arithmetic;

/// Recipe that trains a model from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainRecipe {
    /// Full-batch epochs.
    pub epochs: usize,
    /// Epochs between two evaluations on the test split.
    pub evaluate_every: usize,
    /// Epochs between two checkpoints.
    pub checkpoint_every: usize,
    /// Rows a forward pass; the gradients of all of them are added to the full batch's. Small ones keep the
    /// activations in the processor's cache.
    pub micro_batch: usize,
    /// The data.
    pub task: Arithmetic,
    /// The optimiser.
    pub optimizer: OptimizerRecipe,
    /// `config.json` of the model.
    pub model: serde_json::Value,
}
