//! Recipes that train a model, or a circuit in it, on the model's own task.

use std::path::{Path, PathBuf};

use ns_circuit::CircuitConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{OptimizerRecipe, resolve_beside};
use crate::data::{DataRecipe, TaskData};
use crate::error::TrainError;

/// Recipe that trains a model on a task, a circuit in it, or both at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRecipe {
    /// Folder of the model, relative to the recipe, a name in the Hub's cache, or a `config.json` as a table.
    pub model: ModelSource,
    /// Class that the model becomes, e.g. `BertForSequenceClassification`: the folder's base model with a fresh head
    /// for the data's classes. Without it the folder's own head stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Passes over the training examples.
    pub epochs: usize,
    /// Epochs between two evaluations.
    #[serde(default = "one")]
    pub evaluate_every: usize,
    /// Epochs between two checkpoints.
    #[serde(default = "one")]
    pub checkpoint_every: usize,
    /// Examples a step; a last short batch is dropped.
    pub batch_size: usize,
    /// Temperature after the last epoch; it starts at 1 and grows by the same factor after each.
    #[serde(default = "unchanged")]
    pub final_temperature: f64,
    /// Factors of the L0 term, each a circuit of its own; without them the one of `circuit_config`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub l0_lambdas: Vec<f64>,
    /// Random masks of the circuit's size that are ablated for comparison.
    #[serde(default = "controls")]
    pub controls: usize,
    /// The examples.
    pub data: DataRecipe,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// The masks; without them the whole model is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_config: Option<CircuitConfig>,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ModelSource {
    /// A folder, or a name in the Hub's cache.
    Folder(PathBuf),
    /// A `config.json`: a fresh model.
    Config(Value),
}

fn one() -> usize {
    1
}

fn unchanged() -> f64 {
    1.0
}

fn controls() -> usize {
    5
}

impl TaskRecipe {
    /// Makes paths relative to the recipe's folder. A model that is no folder there may be a name in the Hub's cache.
    ///
    /// # Errors
    /// [`ns_models::ModelError::ModelNotFound`].
    pub fn resolve(self, recipe: &Path) -> Result<Self, TrainError> {
        let model = match self.model {
            ModelSource::Folder(folder) => ModelSource::Folder(resolve_beside(recipe, &folder)?),
            config => config,
        };
        Ok(Self { model, data: self.data.resolve(recipe), ..self })
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`TrainError::Setting`].
    pub fn validate(&self, data: &TaskData) -> Result<(), TrainError> {
        let setting = |setting, found: String, expected: String| Err(TrainError::Setting { setting, found, expected });
        let examples = data.split().train.len();
        if self.batch_size == 0 || self.batch_size > examples {
            return setting(
                "batch_size",
                self.batch_size.to_string(),
                format!("there are {examples} training examples"),
            );
        }
        if self.epochs == 0 {
            return setting("epochs", "0".into(), "it must be at least 1".into());
        }
        if !(self.final_temperature.is_finite() && self.final_temperature > 0.0) {
            return setting("final_temperature", self.final_temperature.to_string(), "it must be positive".into());
        }
        if let Some(lambda) = self.l0_lambdas.iter().find(|lambda| !(lambda.is_finite() && **lambda >= 0.0)) {
            return setting("l0_lambdas", lambda.to_string(), "a factor is at least 0".into());
        }
        if self.l0_lambdas.len() > 1 && self.circuit_config.is_none() {
            return setting("l0_lambdas", format!("{:?}", self.l0_lambdas), "there is no [circuit_config]".into());
        }
        Ok(())
    }

    /// The recipes of the sweep over `l0_lambdas`: one each, or this one.
    pub fn sweep(&self) -> Vec<Self> {
        let Some(config) = self.circuit_config.as_ref().filter(|_| !self.l0_lambdas.is_empty()) else {
            return vec![self.clone()];
        };
        let with = |lambda: &f64| {
            let circuit_config = Some(CircuitConfig { l0_lambda: *lambda, ..config.clone() });
            Self { l0_lambdas: Vec::new(), circuit_config, ..self.clone() }
        };
        self.l0_lambdas.iter().map(with).collect()
    }

    /// Folder that the model, and with it its tokenizer, comes from.
    pub fn model_folder(&self) -> Option<&Path> {
        match &self.model {
            ModelSource::Folder(folder) => Some(folder),
            ModelSource::Config(_) => None,
        }
    }

    /// The examples.
    ///
    /// # Errors
    /// As [`DataRecipe::read`].
    pub fn read_data(&self) -> Result<TaskData, TrainError> {
        self.data.read(self.model_folder())
    }
}
