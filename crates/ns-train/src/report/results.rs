//! Results as JSON files.

use std::path::Path;

use ns_models::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::TrainError;
use crate::evaluate::Row;

/// Reads the rows in `results.json` of a folder that `train` or `evaluate` wrote.
///
/// # Errors
/// Returns [`TrainError::Io`] if the file cannot be read, and [`TrainError::DataFormat`] if it is not a list of rows.
pub fn read_rows(folder: impl AsRef<Path>) -> Result<Vec<Row>, TrainError> {
    read_json(&folder.as_ref().join("results.json"))
}

/// Reads a JSON list.
///
/// # Errors
/// Those of [`read_rows`].
pub(super) fn read_json<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>, TrainError> {
    let text = std::fs::read(path).map_err(TrainError::io("read", path))?;
    let invalid = |error: serde_json::Error| TrainError::DataFormat { path: path.into(), reason: error.to_string() };
    serde_json::from_slice(&text).map_err(invalid)
}

/// Writes `rows` as a JSON list to `results.json` in `folder`. Creates the folder if it does not exist.
///
/// # Errors
/// Returns [`TrainError::Io`] if the folder or the file cannot be written.
pub fn write_rows<R: Serialize>(folder: impl AsRef<Path>, rows: &[R]) -> Result<(), TrainError> {
    let folder = folder.as_ref();
    std::fs::create_dir_all(folder).map_err(TrainError::io("create", folder))?;
    write_json(folder.join("results.json"), rows)
}

/// Writes `results` as pretty-printed JSON to the file `path`. The write is atomic: a reader never sees part of a file.
///
/// # Errors
/// Returns [`TrainError::Io`] if the file cannot be written or the results cannot be serialised.
pub fn write_json<R: Serialize + ?Sized>(path: impl AsRef<Path>, results: &R) -> Result<(), TrainError> {
    let path = path.as_ref();
    let text = serde_json::to_string_pretty(results).map_err(|error| TrainError::io("write", path)(error.into()))?;
    write_atomically(path, (text + "\n").as_bytes()).map_err(TrainError::io("write", path))
}
