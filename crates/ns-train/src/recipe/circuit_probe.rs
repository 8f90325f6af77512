//! The recipe for a circuit probe of a variable of an arithmetic task.

use std::path::{Path, PathBuf};

use ns_circuit::CircuitConfig;
use ns_models::{Site, Sublayer};
use ns_probe::{CircuitProbeConfig, ProbeLoss, ResidualUpdateModelConfig};
use serde::{Deserialize, Serialize};

use super::schedule::check_controls;
use super::{OptimizerRecipe, Schedule, resolve_model_folder};
use crate::data::{Arithmetic, Variable};
use crate::error::TrainError;

/// Recipe that trains and evaluates a circuit probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeRecipe {
    /// Folder of the model, relative to the recipe, or the name of a model in the Hugging Face cache.
    pub model: PathBuf,
    /// The variable whose circuit is searched for.
    pub variable: Variable,
    /// Name of the probed site, e.g. `attn_update_0`.
    pub probe_vectors: String,
    /// Training loss of the probe.
    #[serde(default)]
    pub loss: ProbeLoss,
    /// Number of passes over the training split.
    pub epochs: usize,
    /// Number of epochs between checkpoints.
    pub checkpoint_every: usize,
    /// Number of examples per step. A smaller last batch is dropped.
    pub batch_size: usize,
    /// Temperature after the last epoch. It starts at 1 and is multiplied by a constant factor after each epoch.
    pub final_temperature: f64,
    /// The data, with the split that the model was trained on.
    pub task: Arithmetic,
    /// Optimiser of the mask parameters.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// How the trained circuit is evaluated.
    #[serde(default)]
    pub evaluation: EvaluationRecipe,
    /// Configuration of the masks.
    pub circuit_config: CircuitConfig,
}

/// How a trained circuit is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationRecipe {
    /// Number of training vectors per class in the support set of 1-NN.
    pub memory_per_class: usize,
    /// Number of random controls: ablations of as many random weights as the circuit has. At most 1,000,000.
    pub controls: usize,
}

impl Default for EvaluationRecipe {
    fn default() -> Self {
        Self { memory_per_class: 1, controls: 5 }
    }
}

impl ProbeRecipe {
    /// Resolves the model: a folder relative to the recipe file `recipe`, or else a name in the Hugging Face cache.
    ///
    /// # Errors
    /// Returns [`ns_models::ModelError::ModelNotFound`] if there is no such folder and no such model in the cache.
    pub fn resolve(self, recipe: impl AsRef<Path>) -> Result<Self, TrainError> {
        Ok(Self { model: resolve_model_folder(recipe.as_ref(), &self.model)?, ..self })
    }

    /// The configuration of the probe.
    ///
    /// # Errors
    /// Returns [`ns_models::ModelError::NoSuchSite`] if `probe_vectors` is not the name of a site, and
    /// [`ns_probe::ProbeError::Config`] if it is `embeddings`.
    pub fn probe_config(&self) -> Result<CircuitProbeConfig, TrainError> {
        Ok(CircuitProbeConfig {
            probe_vectors: self.probe_vectors.clone(),
            circuit_config: self.circuit_config.clone(),
            resid_config: ResidualUpdateModelConfig::from_site(self.probe_vectors.parse::<Site>()?)?,
            loss: self.loss,
        })
    }

    /// Sublayer of the probed site, `attn` or `mlp`; `probe_vectors` if it is not a site of a block.
    pub fn block(&self) -> String {
        match self.probe_vectors.parse() {
            Ok(Site::Block { sublayer: Sublayer::Attn, .. }) => "attn".into(),
            Ok(Site::Block { sublayer: Sublayer::Mlp, .. }) => "mlp".into(),
            _ => self.probe_vectors.clone(),
        }
    }

    /// The training settings.
    pub(crate) fn schedule(&self) -> Schedule {
        Schedule {
            epochs: self.epochs,
            evaluate_every: 1,
            checkpoint_every: self.checkpoint_every,
            batch_size: Some(self.batch_size),
            drop_last: true,
            micro_batch: None,
            final_temperature: self.final_temperature,
            optimizer: self.optimizer,
        }
    }

    /// Checks the values that deserialisation does not check, for a number of training examples.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a value out of range.
    pub(crate) fn validate(&self, examples: usize) -> Result<(), TrainError> {
        self.schedule().check(examples)?;
        check_controls(self.evaluation.controls)?;
        let named = !self.circuit_config.target_layers.is_empty();
        TrainError::check(named, "circuit_config.target_layers", "empty", "a circuit needs at least one layer")
    }
}
