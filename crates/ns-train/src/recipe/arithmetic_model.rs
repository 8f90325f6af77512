//! The recipe for training a model from scratch on modular arithmetic.

use serde::{Deserialize, Serialize};

use super::{OptimizerRecipe, Schedule};
use crate::data::Arithmetic;

/// Recipe that trains a model from scratch on modular arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainRecipe {
    /// Number of epochs; an epoch is one step on the full training split.
    pub epochs: usize,
    /// Number of epochs between evaluations on the test split.
    pub evaluate_every: usize,
    /// Number of epochs between checkpoints.
    pub checkpoint_every: usize,
    /// Number of examples per forward pass. The gradients of all micro-batches add up to the gradient of the full
    /// batch. A small micro-batch keeps the activations in the CPU caches.
    pub micro_batch: usize,
    /// The training data.
    pub task: Arithmetic,
    /// The optimiser.
    pub optimizer: OptimizerRecipe,
    /// Configuration of the model, with the keys of a Hugging Face `config.json`.
    pub model: serde_json::Value,
}

impl TrainRecipe {
    /// The training settings: full batch, without masks.
    pub(crate) fn schedule(&self) -> Schedule {
        Schedule {
            epochs: self.epochs,
            evaluate_every: self.evaluate_every,
            checkpoint_every: self.checkpoint_every,
            batch_size: None,
            drop_last: true,
            micro_batch: Some(self.micro_batch),
            final_temperature: 1.0,
            optimizer: self.optimizer,
        }
    }
}
