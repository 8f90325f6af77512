//! Rows as JSON, for programs.

use std::path::Path;

use ns_models::write_atomically;
use serde::Serialize;

use crate::error::TrainError;
use crate::evaluate::ProbeRow;

/// Writes `results.json`, a list of rows, into a folder.
///
/// # Errors
/// [`TrainError::Io`].
pub fn write_rows<R: Serialize>(folder: &Path, rows: &[R]) -> Result<(), TrainError> {
    std::fs::create_dir_all(folder).map_err(TrainError::io("make", folder))?;
    write_json(&folder.join("results.json"), rows)
}

/// Writes any results as JSON. The file appears whole or not at all.
///
/// # Errors
/// [`TrainError::Io`].
pub fn write_json<R: Serialize + ?Sized>(path: &Path, results: &R) -> Result<(), TrainError> {
    let text = serde_json::to_string_pretty(results).map_err(|error| TrainError::io("write", path)(error.into()))?;
    write_atomically(path, (text + "\n").as_bytes()).map_err(TrainError::io("write", path))
}

/// Adds rows to the `results.json` of a folder; a row of the same probe and seed is replaced.
///
/// # Errors
/// [`TrainError::Io`], also when the file that is there is no list of rows.
pub fn add_results(folder: &Path, rows: &[ProbeRow]) -> Result<(), TrainError> {
    let path = folder.join("results.json");
    let mut all: Vec<ProbeRow> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| TrainError::io("read", &path)(error.into()))?,
        Err(_) => Vec::new(),
    };
    for row in rows {
        match all.iter_mut().find(|other| other.is_same_probe(row)) {
            Some(same) => *same = row.clone(),
            None => all.push(row.clone()),
        }
    }
    write_rows(folder, &all)
}
