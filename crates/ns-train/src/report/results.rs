//! Results as JSON files.

use std::path::Path;

use ns_models::write_atomically;
use serde::Serialize;

use crate::error::TrainError;

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
