//! `config.json`, as far as every family has it.

use std::path::Path;

use serde_json::Value;

use crate::ModelError;

/// What sits on top of the base model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// Nothing: the base model.
    #[default]
    None,
    /// Next-token scores over the vocabulary.
    Lm,
    /// One class a sequence.
    SequenceClassification,
}

/// How HF draws a parameter of a fresh model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InitialValue {
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// All the same.
    Constant(f64),
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
