//! Recipe of a circuit probe on a variable of an arithmetic task.

use std::path::{Path, PathBuf};

use ns_circuit::CircuitConfig;
use ns_models::{Site, Sublayer};
use ns_probe::{CircuitProbeConfig, ProbeLoss, ResidualUpdateModelConfig};
use serde::{Deserialize, Serialize};

use super::{OptimizerRecipe, resolve_beside};
use crate::data::{Arithmetic, Variable};
use crate::error::TrainError;

/// Recipe that trains and evaluates a circuit probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeRecipe {
    /// Folder of the model; relative to the recipe.
    pub model: PathBuf,
    /// What is looked for.
    pub variable: Variable,
    /// Where, e.g. `attn_update_0`.
    pub probe_vectors: String,
    /// What pulls vectors together.
    #[serde(default)]
    pub loss: ProbeLoss,
    /// Passes over the training split.
    pub epochs: usize,
    /// Epochs between two checkpoints.
    pub checkpoint_every: usize,
    /// Examples a step; a last short batch is dropped.
    pub batch_size: usize,
    /// Temperature after the last epoch; it starts at 1 and grows by the same factor after each.
    pub final_temperature: f64,
    /// The data, split as the model's was.
    pub task: Arithmetic,
    /// The optimiser of the masks.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// How the circuit is judged.
    #[serde(default)]
    pub evaluation: EvaluationRecipe,
    /// The masks.
    pub circuit_config: CircuitConfig,
}

/// How a circuit is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationRecipe {
    /// Training vectors of each class that 1-NN remembers.
    pub memory_per_class: usize,
    /// Random masks of the circuit's size that are ablated for comparison.
    pub controls: usize,
}

impl Default for EvaluationRecipe {
    fn default() -> Self {
        Self { memory_per_class: 1, controls: 5 }
    }
}

impl ProbeRecipe {
    /// Makes the model's folder relative to the recipe's; what is no folder there may be a name in the Hub's cache.
    ///
    /// # Errors
    /// [`ns_models::ModelError::ModelNotFound`].
    pub fn resolve(self, recipe: &Path) -> Result<Self, TrainError> {
        Ok(Self { model: resolve_beside(recipe, &self.model)?, ..self })
    }

    /// The probe's configuration.
    ///
    /// # Errors
    /// [`ns_models::ModelError::NoSuchSite`], [`ns_probe::ProbeError::Config`].
    pub fn probe_config(&self) -> Result<CircuitProbeConfig, TrainError> {
        Ok(CircuitProbeConfig {
            probe_vectors: self.probe_vectors.clone(),
            circuit_config: self.circuit_config.clone(),
            resid_config: ResidualUpdateModelConfig::from_site(self.probe_vectors.parse::<Site>()?)?,
            loss: self.loss,
        })
    }

    /// `attn` or `mlp`.
    pub fn block(&self) -> String {
        match self.probe_vectors.parse() {
            Ok(Site::Block { sublayer: Sublayer::Attn, .. }) => "attn".into(),
            Ok(Site::Block { sublayer: Sublayer::Mlp, .. }) => "mlp".into(),
            _ => self.probe_vectors.clone(),
        }
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`TrainError::Setting`].
    pub fn validate(&self) -> Result<(), TrainError> {
        self.task.validate()?;
        let setting = |setting, found: String, expected: &str| {
            Err(TrainError::Setting { setting, found, expected: expected.into() })
        };
        let examples = self.task.split().train.len();
        if self.batch_size == 0 || self.batch_size > examples {
            let expected = format!("there are {examples} training examples");
            return setting("batch_size", self.batch_size.to_string(), &expected);
        }
        if !(self.final_temperature.is_finite() && self.final_temperature > 0.0) {
            return setting("final_temperature", self.final_temperature.to_string(), "it must be positive");
        }
        if self.epochs == 0 {
            return setting("epochs", "0".into(), "it must be at least 1");
        }
        if self.circuit_config.target_layers.is_empty() {
            return setting("circuit_config.target_layers", "empty".into(), "a circuit lies in at least one layer");
        }
        Ok(())
    }
}
