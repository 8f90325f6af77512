//! The recipe for subnetwork probes on words in sentences (Cao et al. 2021).

use std::path::{Path, PathBuf};

use ns_circuit::CircuitConfig;
use ns_models::Site;
use ns_probe::{Labeling, ResidualUpdateModelConfig, SubnetworkProbeConfig};
use serde::{Deserialize, Serialize};

use super::schedule::{check_lambdas, unchanged};
use super::{OptimizerRecipe, Schedule, resolve_model_folder};
use crate::data::WordRecipe;
use crate::error::TrainError;

/// Recipe that trains subnetwork probes on one vector per sentence: the vector of the last token of a word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetworkRecipe {
    /// Folder of the model with its tokenizer, relative to the recipe, or the name of a model in the Hugging Face
    /// cache.
    pub model: PathBuf,
    /// Name of the probed site, e.g. `mlp_stream_5`.
    pub probe_vectors: String,
    /// Width of the classifier's hidden layer; −1 for a linear classifier.
    #[serde(default = "linear")]
    pub intermediate_size: i64,
    /// Number of passes over the training rows.
    pub epochs: usize,
    /// Number of epochs between checkpoints.
    pub checkpoint_every: usize,
    /// Number of rows per step. A smaller last batch is dropped.
    pub batch_size: usize,
    /// Temperature after the last epoch. It starts at 1 and is multiplied by a constant factor after each epoch.
    #[serde(default = "unchanged")]
    pub final_temperature: f64,
    /// Factors of the L0 term. Each factor trains one probe.
    pub l0_lambdas: Vec<f64>,
    /// Whether to train a probe without masks as well (plain probing).
    #[serde(default = "yes")]
    pub plain: bool,
    /// Whether to train every probe on shuffled labels as well (a control task, Hewitt and Liang 2019).
    #[serde(default = "yes")]
    pub control: bool,
    /// The words and their labels.
    pub data: WordRecipe,
    /// Optimiser of the mask parameters and the classifier.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// Configuration of the masks. `l0_lambdas` replaces its `l0_lambda`.
    pub circuit_config: CircuitConfig,
}

/// One of the probes that a recipe trains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkVariant {
    /// Factor of the L0 term; `None` for plain probing.
    pub l0_lambda: Option<f64>,
    /// Whether the labels are shuffled (control task).
    pub control: bool,
}

fn linear() -> i64 {
    -1
}

fn yes() -> bool {
    true
}

impl SubnetworkRecipe {
    /// Resolves the model and the data file relative to the recipe file `recipe`. A model that is not a folder there
    /// may be a name in the Hugging Face cache.
    ///
    /// # Errors
    /// Returns [`ns_models::ModelError::ModelNotFound`] if there is no such folder and no such model in the cache.
    pub fn resolve(self, recipe: impl AsRef<Path>) -> Result<Self, TrainError> {
        let recipe = recipe.as_ref();
        Ok(Self { model: resolve_model_folder(recipe, &self.model)?, data: self.data.resolve(recipe), ..self })
    }

    /// The probes that the recipe trains, plain probing first. Each probe precedes its control.
    pub fn variants(&self) -> Vec<SubnetworkVariant> {
        let factors = self.plain.then_some(None).into_iter().chain(self.l0_lambdas.iter().copied().map(Some));
        let controls = if self.control { &[false, true][..] } else { &[false] };
        factors
            .flat_map(|l0_lambda| {
                controls.iter().map(move |control| SubnetworkVariant { l0_lambda, control: *control })
            })
            .collect()
    }

    /// The configuration of one of the probes.
    pub(crate) fn probe_config(
        &self,
        variant: SubnetworkVariant,
        n_classes: usize,
    ) -> Result<SubnetworkProbeConfig, TrainError> {
        let circuit_config = match variant.l0_lambda {
            Some(l0_lambda) => CircuitConfig { l0_lambda, ..self.circuit_config.clone() },
            None => CircuitConfig { target_layers: Vec::new(), ..self.circuit_config.clone() },
        };
        Ok(SubnetworkProbeConfig {
            probe_vectors: self.probe_vectors.clone(),
            n_classes,
            circuit_config,
            resid_config: ResidualUpdateModelConfig::from_site(self.probe_vectors.parse::<Site>()?)?,
            intermediate_size: self.intermediate_size,
            labeling: Labeling::Sequence,
        })
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
    pub(crate) fn validate(&self, examples: usize) -> Result<(), TrainError> {
        self.schedule().check(examples)?;
        check_lambdas(&self.l0_lambdas)
    }
}

impl SubnetworkVariant {
    /// Name of the run folder, e.g. `plain-control` or `lambda-1e-3`.
    pub fn name(&self) -> String {
        let masks = self.l0_lambda.map_or("plain".into(), |lambda| format!("lambda-{lambda:e}"));
        if self.control { format!("{masks}-control") } else { masks }
    }
}
