//! Tests of trainings that recipes describe.

mod language;
mod probes;
mod tasks;

use std::path::Path;

use super::{Job, ProbeTraining};
use crate::error::TrainError;
use crate::recipe::Document;

/// The run of a recipe that stands in `folder`.
fn job(folder: &Path, text: &str) -> Result<Job, TrainError> {
    let path = folder.join("recipe.toml");
    std::fs::write(&path, text).unwrap();
    let job = Job::single(&path)?.in_folder(folder.join("run"));
    job.check()?;
    Ok(job)
}

/// The text of a recipe with some keys set.
fn with(text: &str, sets: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.toml");
    std::fs::write(&path, text).unwrap();
    let mut document = Document::read(&path).unwrap();
    sets.iter().for_each(|set| document.set(set).unwrap());
    document.text()
}
