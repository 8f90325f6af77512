//! `config.json`, as far as every family has it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ModelError;

/// What sits on top of the base model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// Nothing: the base model.
    #[default]
    None,
    /// Next-token scores over the vocabulary.
    Lm,
    /// Scores over the vocabulary for masked tokens.
    MaskedLm,
    /// One class a sequence.
    SequenceClassification,
    /// One class a token.
    TokenClassification,
    /// One class an image.
    ImageClassification,
    /// Whether each token was replaced: ELECTRA's discriminator.
    ReplacedTokenDetection,
}

impl Head {
    /// Name as in documentation and reports.
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

/// How HF draws a parameter of a fresh model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InitialValue {
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in ±`bound`.
    Uniform {
        /// Largest absolute value.
        bound: f64,
    },
    /// All the same.
    Constant(f64),
}

impl InitialValue {
    /// What most of HF's `_init_weights` do at a Burn path: scales of norms 1, biases 0, all else
    /// `Normal(0, initializer_range)`.
    pub(crate) fn usual(path: &str, initializer_range: f64) -> Self {
        match path.rsplit_once('.').map_or(path, |(_, leaf)| leaf) {
            "gamma" => Self::Constant(1.0),
            "bias" | "beta" => Self::Constant(0.0),
            _ => Self::Normal { std: initializer_range },
        }
    }
}

/// What a classification head does with its labels, HF's `problem_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemType {
    /// Values, by mean squared error.
    Regression,
    /// One class, by cross-entropy.
    SingleLabelClassification,
    /// Any number of classes, by binary cross-entropy.
    MultiLabelClassification,
}

/// The part of `config.json` that every family has: the class, its labels, and what is only written back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommonConfig {
    /// Class names; the first chooses the head.
    pub architectures: Option<Vec<String>>,
    /// Number of classes, where `id2label` does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_labels: Option<usize>,
    /// Names of the classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id2label: Option<Map<String, Value>>,
    /// What the labels of a classification are; HF guesses from them if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<ProblemType>,
    /// Everything else in the file, written back as it was.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl CommonConfig {
    /// Of this class.
    pub fn from_architecture(architecture: &str) -> Self {
        Self { architectures: Some(vec![architecture.into()]), ..Self::default() }
    }

    /// Number of classes of a classification head; HF's default is 2.
    pub fn n_labels(&self) -> usize {
        self.id2label.as_ref().map(Map::len).or(self.num_labels).unwrap_or(2)
    }

    /// Head by the first of `architectures`; the first of `known` if there is none.
    ///
    /// # Errors
    /// [`ModelError::UnknownArchitecture`].
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

/// Refuses sizes of 0.
///
/// # Errors
/// [`ModelError::InvalidConfig`].
pub(crate) fn check_sizes(sizes: &[(&'static str, usize)]) -> Result<(), ModelError> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some((field, _)) => Err(invalid_config(field, 0, "it must be at least 1")),
        None => Ok(()),
    }
}

/// Refuses a size that another one does not divide.
///
/// # Errors
/// [`ModelError::InvalidConfig`].
pub(crate) fn check_multiple(
    (field, size): (&'static str, usize),
    (divisor_field, divisor): (&'static str, usize),
) -> Result<(), ModelError> {
    match divisor != 0 && size.is_multiple_of(divisor) {
        true => Ok(()),
        false => Err(invalid_config(field, size, format!("it must be a multiple of {divisor_field} = {divisor}"))),
    }
}

/// Refuses an option that is not built.
///
/// # Errors
/// [`ModelError::InvalidConfig`].
pub(crate) fn check_absent(field: &'static str, asked: bool, reason: &str) -> Result<(), ModelError> {
    if asked { Err(invalid_config(field, asked, reason)) } else { Ok(()) }
}

pub(crate) fn invalid_config(field: &'static str, found: impl ToString, expected: impl Into<String>) -> ModelError {
    ModelError::InvalidConfig { field, found: found.to_string(), expected: expected.into() }
}

/// Reads `config.json` of a model folder.
///
/// # Errors
/// [`ModelError::NoSuchFile`], [`ModelError::Io`] or [`ModelError::InvalidJson`].
pub fn read_config(folder: &Path) -> Result<Value, ModelError> {
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
