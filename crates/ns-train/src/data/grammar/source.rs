//! The text of a grammar file, and errors that name its lines.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::TrainError;

/// A grammar file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    text: String,
}

/// A place in a grammar file: a key, with dots between its parts, and where its value starts.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) start: usize,
}

impl Place {
    pub(super) fn new(section: &str, name: &str, start: usize) -> Self {
        Self { key: format!("{section}.{name}"), start }
    }
}

impl Source {
    /// Reads the file.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if it cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(TrainError::io("read", path))?;
        Ok(Self { path: path.into(), text })
    }

    /// Reads the TOML of the file.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] with the line if it is not TOML, or has missing, unknown or mistyped keys.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, TrainError> {
        toml::from_str(&self.text).map_err(|error| {
            let line = error.span().map(|span| self.line(span.start));
            let reason = error.message().lines().collect::<Vec<_>>().join(", ");
            self.failed(line, "", reason)
        })
    }

    /// The error for a place of the file.
    pub(super) fn error(&self, place: &Place, reason: impl Into<String>) -> TrainError {
        self.failed(Some(self.line(place.start)), &place.key, reason)
    }

    /// The error for the whole file.
    pub(super) fn error_of_file(&self, reason: impl Into<String>) -> TrainError {
        self.failed(None, "", reason)
    }

    fn failed(&self, line: Option<usize>, key: &str, reason: impl Into<String>) -> TrainError {
        TrainError::RecipeKey { path: self.path.clone(), line, key: key.into(), reason: reason.into() }
    }

    /// Line of a byte of the file, from 1.
    fn line(&self, start: usize) -> usize {
        1 + self.text.bytes().take(start).filter(|byte| *byte == b'\n').count()
    }
}
