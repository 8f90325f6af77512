//! Results as JSON files.

use std::path::Path;

use ns_models::write_atomically;
use serde::Serialize;

use crate::error::TrainError;
use crate::evaluate::ProbeRow;

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

/// Adds rows to `results.json` in `folder`. A row replaces an existing row with the same variable, block, seed and
/// initial mask value.
///
/// # Errors
/// Returns [`TrainError::Io`] if the file cannot be written, or if the existing file is not a list of probe rows.
pub fn add_results(folder: impl AsRef<Path>, rows: &[ProbeRow]) -> Result<(), TrainError> {
    let folder = folder.as_ref();
    let path = folder.join("results.json");
    let mut all: Vec<ProbeRow> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| TrainError::io("read", &path)(error.into()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(TrainError::io("read", &path)(error)),
    };
    for row in rows {
        match all.iter_mut().find(|other| other.is_same_probe(row)) {
            Some(existing) => *existing = row.clone(),
            None => all.push(row.clone()),
        }
    }
    write_rows(folder, &all)
}
