//! Recipe of subnetwork probes on words in sentences (Cao et al. 2021).

use std::path::{Path, PathBuf};

use ns_circuit::CircuitConfig;
use ns_models::Site;
use ns_probe::{Labeling, ResidualUpdateModelConfig, SubnetworkProbeConfig};
use serde::{Deserialize, Serialize};

use super::{OptimizerRecipe, resolve_beside};
use crate::data::{WordLabels, WordRecipe};
use crate::error::TrainError;

/// Recipe that trains subnetwork probes on one vector a sentence: that of a word's last token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetworkRecipe {
    /// Folder of the model with its tokenizer, relative to the recipe, or a name in the Hub's cache.
    pub model: PathBuf,
    /// Where, e.g. `mlp_stream_5`.
    pub probe_vectors: String,
    /// Width of the probe's hidden layer; −1 for a linear probe.
    #[serde(default = "linear")]
    pub intermediate_size: i64,
    /// Passes over the training rows.
    pub epochs: usize,
    /// Epochs between two checkpoints.
    pub checkpoint_every: usize,
    /// Rows a step; a last short batch is dropped.
    pub batch_size: usize,
    /// Temperature after the last epoch; it starts at 1 and grows by the same factor after each.
    #[serde(default = "unchanged")]
    pub final_temperature: f64,
    /// Factors of the L0 term, each a probe of its own.
    pub l0_lambdas: Vec<f64>,
    /// Whether a probe without masks is trained, too.
    #[serde(default = "yes")]
    pub plain: bool,
    /// Whether every probe is trained on shuffled labels, too (a control task, Hewitt and Liang 2019).
    #[serde(default = "yes")]
    pub control: bool,
    /// The words.
    pub data: WordRecipe,
    /// The optimiser of masks and probe.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// The masks.
    pub circuit_config: CircuitConfig,
}

/// Which probe of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkVariant {
    /// Factor of the L0 term; `None` for plain probing.
    pub l0_lambda: Option<f64>,
    /// Whether labels are shuffled.
    pub control: bool,
}

fn linear() -> i64 {
    -1
}

fn unchanged() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

impl SubnetworkRecipe {
    /// Makes paths relative to the recipe's folder.
    ///
    /// # Errors
    /// [`ns_models::ModelError::ModelNotFound`].
    pub fn resolve(self, recipe: &Path) -> Result<Self, TrainError> {
        Ok(Self { model: resolve_beside(recipe, &self.model)?, data: self.data.resolve(recipe), ..self })
    }

    /// The probes that the recipe asks for, plain probing first.
    pub fn variants(&self) -> Vec<SubnetworkVariant> {
        let factors = self.plain.then_some(None).into_iter().chain(self.l0_lambdas.iter().copied().map(Some));
        let controls = if self.control { &[false, true][..] } else { &[false] };
        factors
            .flat_map(|l0_lambda| {
                controls.iter().map(move |control| SubnetworkVariant { l0_lambda, control: *control })
            })
            .collect()
    }

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

    pub(crate) fn validate(&self, data: &WordLabels) -> Result<(), TrainError> {
        let setting = |setting, found: String, expected: String| Err(TrainError::Setting { setting, found, expected });
        let rows = data.split.train.len();
        if self.batch_size == 0 || self.batch_size > rows {
            return setting("batch_size", self.batch_size.to_string(), format!("there are {rows} training rows"));
        }
        if self.epochs == 0 {
            return setting("epochs", "0".into(), "it must be at least 1".into());
        }
        if !(self.final_temperature.is_finite() && self.final_temperature > 0.0) {
            return setting("final_temperature", self.final_temperature.to_string(), "it must be positive".into());
        }
        match self.l0_lambdas.iter().find(|lambda| !(lambda.is_finite() && **lambda >= 0.0)) {
            Some(lambda) => setting("l0_lambdas", lambda.to_string(), "a factor is at least 0".into()),
            None => Ok(()),
        }
    }
}

impl SubnetworkVariant {
    /// Name of the run's folder.
    pub fn name(&self) -> String {
        let masks = self.l0_lambda.map_or("plain".into(), |lambda| format!("lambda-{lambda:e}"));
        if self.control { format!("{masks}-control") } else { masks }
    }
}
