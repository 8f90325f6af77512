//! The recipe for training a model, or a circuit in it, on a task.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ns_circuit::CircuitConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schedule::{check_controls, check_lambdas, unchanged};
use super::{OptimizerRecipe, Schedule, resolve_model_folder};
use crate::data::{DataRecipe, Dataset};
use crate::error::TrainError;

/// Recipe that trains a model on a task, a circuit in the frozen model, or both together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRecipe {
    /// Folder of the model, relative to the recipe, the name of a model in the Hugging Face cache, or the keys of a
    /// `config.json` as a TOML table.
    pub model: ModelSource,
    /// Hugging Face class of the trained model, e.g. `BertForSequenceClassification`. The base model of the folder gets
    /// a newly initialised head with the classes of the data. By default the model keeps the head of the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Number of passes over the training examples.
    pub epochs: usize,
    /// Number of epochs between evaluations on the test split.
    #[serde(default = "one")]
    pub evaluate_every: usize,
    /// Number of epochs between checkpoints.
    #[serde(default = "one")]
    pub checkpoint_every: usize,
    /// Number of examples per step. A smaller last batch is dropped.
    pub batch_size: usize,
    /// Temperature after the last epoch. It starts at 1 and is multiplied by a constant factor after each epoch.
    #[serde(default = "unchanged")]
    pub final_temperature: f64,
    /// Factors of the L0 term. Each factor trains one circuit. By default the `l0_lambda` of `circuit_config` is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub l0_lambdas: Vec<f64>,
    /// Number of random controls: ablations of as many random weights as the circuit has. At most 1,000,000.
    #[serde(default = "controls")]
    pub controls: usize,
    /// The training and test data.
    pub data: DataRecipe,
    /// Optimiser of the trained parameters.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// Configuration of the masks. By default there are no masks and the whole model is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_config: Option<CircuitConfig>,
}

/// Source of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ModelSource {
    /// A model folder, or the name of a model in the Hugging Face cache.
    Folder(PathBuf),
    /// The keys of a `config.json`: the model is newly initialised.
    Config(#[schemars(with = "serde_json::Map<String, Value>")] Value),
}

fn one() -> usize {
    1
}

fn controls() -> usize {
    5
}

impl TaskRecipe {
    /// Resolves the model and the data file relative to the recipe file `recipe`. A model that is not a folder there
    /// may be a name in the Hugging Face cache.
    ///
    /// # Errors
    /// Returns [`ns_models::ModelError::ModelNotFound`] if there is no such folder and no such model in the cache.
    pub fn resolve(self, recipe: impl AsRef<Path>) -> Result<Self, TrainError> {
        let recipe = recipe.as_ref();
        let model = match self.model {
            ModelSource::Folder(folder) => ModelSource::Folder(resolve_model_folder(recipe, &folder)?),
            config => config,
        };
        Ok(Self { model, data: self.data.resolve(recipe), ..self })
    }

    /// The training settings.
    pub(crate) fn schedule(&self) -> Schedule {
        Schedule {
            epochs: self.epochs,
            evaluate_every: self.evaluate_every,
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
    /// Returns [`TrainError::Setting`] for a value out of range, and for several `l0_lambdas` without a
    /// `circuit_config`.
    pub(crate) fn validate(&self, examples: usize) -> Result<(), TrainError> {
        self.schedule().check(examples)?;
        check_controls(self.controls)?;
        check_lambdas(&self.l0_lambdas)?;
        let holds = self.l0_lambdas.len() <= 1 || self.circuit_config.is_some();
        let (found, expected) = (format!("{:?}", self.l0_lambdas), "a sweep over factors needs a [circuit_config]");
        TrainError::check(holds, "l0_lambdas", found, expected)
    }

    /// One recipe per factor in `l0_lambdas`; this recipe if `l0_lambdas` is empty or there are no masks.
    pub fn sweep(&self) -> Vec<Self> {
        let Some(config) = self.circuit_config.as_ref().filter(|_| !self.l0_lambdas.is_empty()) else {
            return vec![self.clone()];
        };
        let with_lambda = |lambda: &f64| {
            let circuit_config = Some(CircuitConfig { l0_lambda: *lambda, ..config.clone() });
            Self { l0_lambdas: Vec::new(), circuit_config, ..self.clone() }
        };
        self.l0_lambdas.iter().map(with_lambda).collect()
    }

    /// Folder of the model and its tokenizer; `None` for a newly initialised model.
    pub fn model_folder(&self) -> Option<&Path> {
        match &self.model {
            ModelSource::Folder(folder) => Some(folder),
            ModelSource::Config(_) => None,
        }
    }

    /// Reads the training and test data.
    ///
    /// # Errors
    /// Returns the errors of [`DataRecipe::read`].
    pub fn read_data(&self) -> Result<Arc<dyn Dataset>, TrainError> {
        self.data.read(self.model_folder())
    }
}
