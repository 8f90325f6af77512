//! A recipe for one run, and its sections other than the data.

use std::path::Path;

use ns_circuit::{CircuitConfig, MaskUnit};
use ns_models::ModelError;
use ns_probe::ProbeLoss;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attribution::AttributionSection;
use super::behaviour::{Answer, BehaviourSection};
use super::circuit_schema::{circuit_config, probe_loss};
use super::data::DataSection;
use super::evaluation::EvaluationSection;
use super::kind::Kind;
use super::model_source::{ModelSource, TOKENIZER, resolve_model_folder, resolve_tokenizer};
use super::optimizer::OptimizerRecipe;
use super::schedule::Schedule;
use crate::error::TrainError;

/// Share of the tokens that a masked language model predicts (Devlin et al. 2019).
pub(crate) const MASK_PROBABILITY: f64 = 0.15;

/// A recipe for one run: no lists of labels or sites and no sweep, which a [`Grid`](super::Grid) takes apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is trained.
    pub kind: Kind,
    /// The model: a folder, a name in the Hugging Face cache, or the configuration of a fresh model, in which `tokenizer`
    /// may name the folder of its tokenizer.
    pub model: ModelSource,
    /// Hugging Face class of a fresh head, e.g. `BertForTokenClassification`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Seed of shuffles, samples and fresh parameters.
    #[serde(default)]
    pub seed: u64,
    /// The examples and their labels.
    pub data: DataSection,
    /// The probed site and the classifier on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeSection>,
    /// The masks, with NeuroSurgeon's names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "circuit_config")]
    pub circuit_config: Option<CircuitConfig>,
    /// How units are scored without training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<AttributionSection>,
    /// What the model itself does, intact and ablated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behaviour: Option<BehaviourSection>,
    /// Length, steps and optimiser of the training. An attribution trains nothing and needs none.
    #[serde(default, skip_serializing_if = "TrainingSection::is_absent")]
    pub training: TrainingSection,
    /// Controls and ablations.
    #[serde(default)]
    pub evaluation: EvaluationSection,
}

/// `[probe]`: the probed site, and what is trained on its vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeSection {
    /// The probed site, e.g. `attn_update_6`. A recipe file may hold a list or a pattern, one run for each site.
    pub vectors: String,
    /// Loss of a circuit probe.
    #[serde(default)]
    #[schemars(schema_with = "probe_loss")]
    pub loss: ProbeLoss,
    /// Width of the hidden layer of the classifier; absent for a linear classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    /// Number of training vectors per class in the support set of 1-NN.
    #[serde(default = "one")]
    pub support_per_class: usize,
    /// Number of support sets; their accuracies are averaged.
    #[serde(default = "one")]
    pub support_draws: usize,
}

/// `[training]`: how long, in which steps and with which optimiser.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingSection {
    /// Number of passes over the training set.
    pub epochs: usize,
    /// Examples per step.
    pub batch_size: usize,
    /// Whether a smaller last batch is left out. By default only for masks and probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_last: Option<bool>,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// Temperature of continuous sparsification after the last epoch. It starts at 1.
    #[serde(default = "unchanged")]
    pub final_temperature: f64,
    /// Epochs between two evaluations.
    #[serde(default = "one")]
    pub evaluate_every: usize,
    /// Epochs between two checkpoints.
    #[serde(default = "one")]
    pub checkpoint_every: usize,
    /// Examples per forward pass; gradients add up. By default `batch_size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Epochs after which the model is kept as a folder of its own. Kind `model` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<usize>,
    /// Share of the tokens of a text that a masked language model predicts; 0.15 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_probability: Option<f64>,
}

impl TrainingSection {
    /// Whether the recipe has no such section. One with 0 epochs is refused.
    fn is_absent(&self) -> bool {
        *self == Self::default()
    }

    /// The settings of a [`Trainer`](crate::Trainer).
    pub(crate) fn schedule(&self, kind: Kind) -> Schedule {
        Schedule {
            epochs: self.epochs,
            evaluate_every: self.evaluate_every,
            checkpoint_every: self.checkpoint_every,
            batch_size: self.batch_size,
            drop_last: self.drop_last.unwrap_or(kind != Kind::Model),
            micro_batch: self.micro_batch,
            final_temperature: self.final_temperature,
            optimizer: self.optimizer,
        }
    }

    /// Checks the settings for a number of training examples.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`], named by its key, for a value out of range.
    pub(crate) fn check(&self, kind: Kind, examples: usize) -> Result<(), TrainError> {
        self.schedule(kind).check(examples).map_err(|error| error.within("training"))?;
        let beyond = self.keep.iter().find(|epoch| !(1..=self.epochs).contains(*epoch));
        let expected = format!("it lists epochs from 1 to {}", self.epochs);
        TrainError::check(beyond.is_none(), "training.keep", format!("{:?}", self.keep), expected)?;
        let kept = self.keep.is_empty() || kind == Kind::Model;
        TrainError::check(kept, "training.keep", "given", format!("a {} trains no model; remove it", kind.name()))?;
        let share = self.mask_probability.unwrap_or(MASK_PROBABILITY);
        let expected = "it must be above 0 and at most 1";
        TrainError::check(share > 0.0 && share <= 1.0, "training.mask_probability", share, expected)
    }
}

impl Recipe {
    /// Resolves the model and the data relative to the recipe file `file`. A model that is not a folder there may be a
    /// name in the Hugging Face cache.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if there is no such folder and no such model in the cache.
    pub fn resolve(self, file: &Path) -> Result<Self, TrainError> {
        let model = match self.model {
            ModelSource::Folder(name) => ModelSource::Folder(resolve_model_folder(file, &name).map_err(not_found)?),
            ModelSource::Config(config) => ModelSource::Config(resolve_tokenizer(file, config)?),
        };
        Ok(Self { model, data: self.data.resolve(file), ..self })
    }

    /// The model as the recipe writes it; for a fresh model its `model_type`.
    pub fn model_name(&self) -> String {
        match &self.model {
            ModelSource::Folder(folder) => folder.display().to_string(),
            ModelSource::Config(config) => format!("fresh {}", config["model_type"].as_str().unwrap_or("model")),
        }
    }

    /// Folder of the model and its tokenizer; `None` for a fresh model.
    pub fn model_folder(&self) -> Option<&Path> {
        match &self.model {
            ModelSource::Folder(folder) => Some(folder),
            ModelSource::Config(_) => None,
        }
    }

    /// Folder of the tokenizer: that of the model, or for a fresh model the one that its table names as `tokenizer`.
    pub fn tokenizer_folder(&self) -> Option<&Path> {
        match &self.model {
            ModelSource::Folder(folder) => Some(folder),
            ModelSource::Config(config) => config[TOKENIZER].as_str().map(Path::new),
        }
    }

    /// Whether a language model is trained to predict the tokens of its texts: there is no label, and `[behaviour]` names
    /// no answers.
    pub fn is_language_model(&self) -> bool {
        let answers = self.behaviour.as_ref().is_some_and(|behaviour| !matches!(behaviour.answer, Answer::Own(_)));
        !self.kind.is_probe() && self.data.label.is_none() && self.data.arithmetic.is_none() && !answers
    }

    /// Checks that there is a label if one is needed.
    fn validate_label(&self) -> Result<(), TrainError> {
        let is_language_model = self.is_language_model();
        let answers = matches!(&self.behaviour, Some(behaviour) if matches!(behaviour.answer, Answer::Columns(_)));
        let circuit = matches!(self.kind, Kind::Circuit | Kind::Attribution);
        let holds = self.data.label.is_some() || is_language_model || (circuit && answers);
        TrainError::check(holds, "data.label", "missing", "it names the variable that is predicted")?;
        let expected = "without a `label` all tokens of the texts are predicted; name the label, or remove the key";
        TrainError::check(!is_language_model || self.data.read.is_none(), "data.read", "given", expected)
    }

    /// Checks which sections belong to the kind, and the values that deserialisation does not check.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`], named by its key, for a section that is missing or without a meaning, and for a
    /// value out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let (kind, name) = (self.kind, self.kind.with_article());
        let section = |holds: bool, wanted: bool, key| match (holds, wanted) {
            (false, true) => TrainError::check(false, key, "missing", format!("{name} needs it")),
            (true, false) => {
                TrainError::check(false, key, "given", format!("{name} does not read it; remove the section"))
            }
            _ => Ok(()),
        };
        section(self.probe.is_some(), kind.is_probe(), "probe")?;
        section(self.circuit_config.is_some(), kind.has_masks(), "circuit_config")?;
        section(!self.training.is_absent(), kind != Kind::Attribution, "training")?;
        let attribution = self.attribution.is_none() || kind == Kind::Attribution;
        let expected = format!("{name} does not read it; remove the section");
        TrainError::check(attribution, "attribution", "given", expected)?;
        self.attribution.iter().try_for_each(AttributionSection::validate)?;
        if let Some(config) = &self.circuit_config {
            let expected = "a circuit needs at least one layer, a pattern, or \"site\"";
            TrainError::check(!config.target_layers.is_empty(), "circuit_config.target_layers", "empty", expected)?;
        }
        if let Some(probe) = &self.probe {
            TrainError::check(
                probe.hidden != Some(0),
                "probe.hidden",
                "0",
                "it must be at least 1; leave it out for a linear probe",
            )?;
            TrainError::check(probe.support_per_class > 0, "probe.support_per_class", "0", "it must be at least 1")?;
            TrainError::check(probe.support_draws > 0, "probe.support_draws", "0", "it must be at least 1")?;
        }
        let masks_tokens = self.training.mask_probability.is_none() || self.is_language_model();
        let expected = "only a masked language model hides tokens; remove the key, or `data.label`";
        TrainError::check(masks_tokens, "training.mask_probability", "given", expected)?;
        if let Some(behaviour) = &self.behaviour {
            behaviour.validate()?;
        }
        self.validate_ablations()?;
        self.data.validate(kind)?;
        self.validate_label()
    }

    /// Checks that ablations of outputs have masks of neurons.
    fn validate_ablations(&self) -> Result<(), TrainError> {
        let Some(config) = &self.circuit_config else { return Ok(()) };
        if self.kind == Kind::Attribution {
            let expected = "units are neurons; set `mask_unit = \"neuron\"` in [circuit_config.mask_hparams]";
            let neurons = config.mask_unit == MaskUnit::Neuron;
            TrainError::check(neurons, "circuit_config.mask_hparams", "for single weights", expected)?;
        }
        let of_outputs = self.evaluation.ablations.iter().find(|ablation| ablation.replaces_outputs());
        let Some(ablation) = of_outputs else { return Ok(()) };
        let expected = "it replaces the outputs of neurons; a weight mask has none, so set `mask_unit = \"neuron\"` in \
                        [circuit_config.mask_hparams], or use \"zero\"";
        let found = format!("`{}` with masks of single weights", ablation.name());
        TrainError::check(config.mask_unit == MaskUnit::Neuron, "evaluation.ablations", found, expected)
    }

    /// Whether the probe is trained again on shuffled labels.
    pub fn has_shuffled_control(&self) -> bool {
        let default = matches!(self.kind, Kind::SubnetworkProbe | Kind::LinearProbe);
        self.evaluation.shuffled_labels.unwrap_or(default)
    }

    /// Whether the probe is trained again without masks.
    pub fn has_plain_control(&self) -> bool {
        self.evaluation.plain.unwrap_or(self.kind == Kind::SubnetworkProbe)
    }
}

fn not_found(error: TrainError) -> TrainError {
    match error {
        TrainError::Model(ModelError::ModelNotFound { name, reason }) => {
            TrainError::setting("model", format!("`{name}`"), format!("the program cannot find the model: {reason}"))
        }
        other => other,
    }
}

fn one() -> usize {
    1
}

fn unchanged() -> f64 {
    1.0
}
