//! What can go wrong in a run.

use std::path::{Path, PathBuf};

use burn::train::checkpoint::CheckpointerError;
use ns_circuit::CircuitError;
use ns_models::ModelError;
use ns_probe::ProbeError;

use crate::exchange::CircuitFileError;
use crate::report::figures::FigureError;

/// Error of a recipe, a run or its results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// "read", "write", …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A recipe does not say what it must.
    #[error("`{}` is not valid: {reason}", path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and column.
        reason: String,
    },
    /// A setting cannot work.
    #[error("{setting} is {found}, but {expected}")]
    Setting {
        /// Key of the recipe.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A data file is not in the format that its name says.
    #[error("cannot read `{}`: {reason}", path.display())]
    DataFormat {
        /// The file.
        path: PathBuf,
        /// What stands in the way, with the line.
        reason: String,
    },
    /// A data file lacks a column.
    #[error("`{}` has no column `{column}`; it has {}", path.display(), quoted(found))]
    DataColumn {
        /// The file.
        path: PathBuf,
        /// The column that a recipe names.
        column: String,
        /// Its columns.
        found: Vec<String>,
    },
    /// A data file holds something that cannot be used.
    #[error("`{}`{}: {what} is {found}, but {expected}", path.display(), at(*line))]
    Data {
        /// The file.
        path: PathBuf,
        /// Line, from 1, where it is about one.
        line: Option<usize>,
        /// "a row", "a pixel", …
        what: &'static str,
        /// What is there.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A row has a class that does not exist: no training row has it, or the recipe does not name it.
    #[error("`{}`, line {line}: there is no class `{class}`; the classes are {}", path.display(), quoted(classes))]
    UnknownClass {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The row's class, or its index.
        class: String,
        /// The classes.
        classes: Vec<String>,
    },
    /// A class cannot be learned.
    #[error("no training row of `{}` has the class `{class}`", path.display())]
    UntrainedClass {
        /// The file.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// The folder holds another run.
    #[error("`{}` holds a run of another recipe or seed; choose another --out, or remove it", folder.display())]
    OtherRun {
        /// The run folder.
        folder: PathBuf,
    },
    /// Training went astray.
    #[error("the loss became {loss} in epoch {epoch}; {}. A smaller learning rate may help", kept(*last_good, folder))]
    NanLoss {
        /// The loss.
        loss: f64,
        /// Epoch, from 1.
        epoch: usize,
        /// Last epoch with a checkpoint whose weights gave a finite loss, 0 if there is none.
        last_good: usize,
        /// The run folder.
        folder: PathBuf,
    },
    /// A checkpoint could not be written or read.
    #[error("checkpoint of epoch {epoch} in `{}`: {source}", folder.display())]
    Checkpoint {
        /// Epoch of the checkpoint.
        epoch: usize,
        /// The run folder.
        folder: PathBuf,
        /// burn-train's reason.
        source: CheckpointerError,
    },
    /// A circuit's files.
    #[error(transparent)]
    CircuitFile(#[from] CircuitFileError),
    /// Two circuits cannot share a figure or a table.
    #[error("the two circuits lie in different models: {}", some(differences))]
    DifferentModels {
        /// Layers that differ, each in words.
        differences: Vec<String>,
    },
    /// A figure could not be drawn.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The circuit.
    #[error(transparent)]
    Circuit(#[from] CircuitError),
    /// The probe.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

/// The first few of a list.
fn some(differences: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = differences.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match differences.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

fn kept(last_good: usize, folder: &Path) -> String {
    match last_good {
        0 => format!("no checkpoint in `{}` is from before that", folder.display()),
        epoch => format!("the checkpoint of epoch {epoch} in `{}` is kept", folder.display()),
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn at(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

impl TrainError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
