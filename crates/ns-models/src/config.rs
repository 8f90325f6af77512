//! The fields of `config.json` that all families share, and checks of configurations.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ModelError;

/// The largest size that a configuration may have, 16,777,216. Products of two sizes cannot overflow.
const MAX_SIZE: usize = 1 << 24;
/// The largest number of blocks.
const MAX_LAYERS: usize = 10_000;

/// The head on top of the base model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Head {
    /// No head: the base model.
    #[default]
    None,
    /// Language model: next-token logits over the vocabulary.
    Lm,
    /// Masked language model: logits over the vocabulary for masked tokens.
    MaskedLm,
    /// One classification per sequence.
    SequenceClassification,
    /// One classification per token.
    TokenClassification,
    /// One classification per image.
    ImageClassification,
    /// Detection of replaced tokens: ELECTRA's discriminator.
    ReplacedTokenDetection,
}

impl Head {
    /// Whether the head predicts tokens of the vocabulary.
    pub fn is_language_model(self) -> bool {
        matches!(self, Self::Lm | Self::MaskedLm)
    }

    /// Name of the head in documentation and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "base model",
            Self::Lm => "language model",
            Self::MaskedLm => "masked language model",
            Self::SequenceClassification => "sequence classification",
            Self::TokenClassification => "token classification",
            Self::ImageClassification => "image classification",
            Self::ReplacedTokenDetection => "replaced token detection",
        }
    }
}

/// The distribution from which HF initialises a parameter of a new model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InitialValue {
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in `[-bound, bound]`.
    Uniform {
        /// Largest absolute value.
        bound: f64,
    },
    /// The same value for all entries.
    Constant(f64),
}

impl InitialValue {
    /// The initialisation used by most of HF's `_init_weights` for the parameter at a Burn path: 1 for the scale of a
    /// norm, 0 for a bias, and `Normal(0, initializer_range)` for any other parameter.
    pub(crate) fn usual(path: &str, initializer_range: f64) -> Self {
        match path.rsplit_once('.').map_or(path, |(_, leaf)| leaf) {
            "gamma" => Self::Constant(1.0),
            "bias" | "beta" => Self::Constant(0.0),
            _ => Self::Normal { std: initializer_range },
        }
    }
}

/// The loss of a classification head, HF's `problem_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemType {
    /// Real-valued targets, mean squared error.
    Regression,
    /// Exactly one class per input, cross-entropy.
    SingleLabelClassification,
    /// Any number of classes per input, binary cross-entropy.
    MultiLabelClassification,
}

/// The fields of `config.json` that all families share: the model class, its labels, and fields that are kept only to
/// be written back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommonConfig {
    /// HF class names. The first one selects the head.
    pub architectures: Option<Vec<String>>,
    /// Number of labels of a classification head. It is used only if `id2label` is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_labels: Option<usize>,
    /// Label names by label id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id2label: Option<Map<String, Value>>,
    /// Loss of a classification head. If it is absent, the loss follows from the labels, as in HF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<ProblemType>,
    /// All other fields of the file. They are written back unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl CommonConfig {
    /// Creates the configuration of an HF class, e.g. `GPT2LMHeadModel`.
    pub fn from_architecture(architecture: &str) -> Self {
        Self { architectures: Some(vec![architecture.into()]), ..Self::default() }
    }

    /// Returns the number of labels of a classification head. The default is 2, as in HF.
    pub fn n_labels(&self) -> usize {
        self.id2label.as_ref().map(Map::len).or(self.num_labels).unwrap_or(2)
    }

    /// Returns the head of the first class in `architectures`, or the first head of `known` if `architectures` is empty
    /// or absent. `known` lists the HF classes of the family.
    ///
    /// # Errors
    /// Returns [`ModelError::UnknownArchitecture`] if the class is not in `known`.
    pub(crate) fn head(&self, model_type: &str, known: &[(&str, Head)]) -> Result<Head, ModelError> {
        let name = self.architectures.as_ref().and_then(|names| names.first());
        let by_name = |name: &String| known.iter().find(|(class, _)| class == name).map(|(_, head)| *head);
        let Some(name) = name else {
            return Ok(known.first().map(|(_, head)| *head).unwrap_or_default());
        };
        by_name(name).ok_or_else(|| ModelError::UnknownArchitecture {
            model_type: model_type.into(),
            found: name.clone(),
            known: known.iter().map(|(class, _)| class.to_string()).collect(),
        })
    }
}

/// Checks that all sizes are between 1 and [`MAX_SIZE`]. Each comes with the name of its field in `config.json`.
///
/// # Errors
/// Returns [`ModelError::InvalidConfig`] for the first other size.
pub(crate) fn check_sizes(sizes: &[(&'static str, usize)]) -> Result<(), ModelError> {
    sizes.iter().try_for_each(|(field, size)| check_range(field, *size, MAX_SIZE))
}

/// Checks that a number of blocks is between 1 and [`MAX_LAYERS`], because all blocks are built before a checkpoint is
/// compared with them. `field` is its name in `config.json`.
///
/// # Errors
/// Returns [`ModelError::InvalidConfig`] for any other number.
pub(crate) fn check_layers(field: &'static str, layers: usize) -> Result<(), ModelError> {
    check_range(field, layers, MAX_LAYERS)
}

/// Checks that a size is between 1 and `max`. `field` is its name in `config.json`.
///
/// # Errors
/// Returns [`ModelError::InvalidConfig`] for any other size.
pub(crate) fn check_range(field: &'static str, size: usize, max: usize) -> Result<(), ModelError> {
    match (1..=max).contains(&size) {
        true => Ok(()),
        false => Err(invalid_config(field, size, format!("it must be between 1 and {max}"))),
    }
}

/// Checks that a size is a multiple of a divisor. Each comes with the name of its field in `config.json`.
///
/// # Errors
/// Returns [`ModelError::InvalidConfig`] if the divisor is 0 or does not divide the size.
pub(crate) fn check_multiple(
    (field, size): (&'static str, usize),
    (divisor_field, divisor): (&'static str, usize),
) -> Result<(), ModelError> {
    match divisor != 0 && size.is_multiple_of(divisor) {
        true => Ok(()),
        false => Err(invalid_config(field, size, format!("it must be a multiple of {divisor_field} = {divisor}"))),
    }
}

/// Checks that an unsupported option of `config.json` is not set.
///
/// # Errors
/// Returns [`ModelError::InvalidConfig`] with `reason` if the option is set.
pub(crate) fn check_absent(field: &'static str, is_set: bool, reason: &str) -> Result<(), ModelError> {
    if is_set { Err(invalid_config(field, is_set, reason)) } else { Ok(()) }
}

/// Creates a [`ModelError::InvalidConfig`].
pub(crate) fn invalid_config(field: &'static str, found: impl ToString, expected: impl Into<String>) -> ModelError {
    ModelError::InvalidConfig { field, found: found.to_string(), expected: expected.into() }
}

/// Reads the `config.json` of a model folder.
///
/// # Errors
/// Returns [`ModelError::NoSuchFile`] if the folder has no `config.json`, [`ModelError::Io`] if the file cannot be read
/// and [`ModelError::InvalidJson`] if it is not valid JSON.
pub fn read_config(folder: impl AsRef<Path>) -> Result<Value, ModelError> {
    let folder = folder.as_ref();
    let path = folder.join("config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ModelError::NoSuchFile {
                folder: folder.into(),
                expected: "config.json".into(),
                hint: String::new(),
            });
        }
        Err(source) => {
            return Err(ModelError::Io { action: "read", path, source });
        }
    };
    serde_json::from_str(&text).map_err(|error| ModelError::InvalidJson { path, reason: error.to_string() })
}
