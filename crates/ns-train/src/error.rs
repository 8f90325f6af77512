//! The error type of this crate.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use burn::train::checkpoint::CheckpointerError;
use ns_circuit::CircuitError;
use ns_models::ModelError;
use ns_probe::ProbeError;

use crate::exchange::{CircuitFileError, first_few};
use crate::report::figures::FigureError;

/// Error while reading a recipe or data, training, evaluating, or writing results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// "read", "write", …
        action: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A recipe is not valid TOML, or has missing, unknown or mistyped keys.
    #[error("`{}` is not a valid recipe: {reason}", path.display())]
    Recipe {
        /// Path of the recipe.
        path: PathBuf,
        /// Message of the parser, with line and column.
        reason: String,
    },
    /// A key of a recipe is missing, unknown, of another type, or has an unusable value.
    #[error("`{}`{}{}: {reason}", path.display(), line_suffix(*line), key_suffix(key))]
    RecipeKey {
        /// Path of the recipe.
        path: PathBuf,
        /// Line of the key, or of the table around it, from 1; `None` if the file has neither.
        line: Option<usize>,
        /// The key, with dots between its parts; empty for the whole recipe.
        key: String,
        /// What was found, and what would be right.
        reason: String,
    },
    /// A setting has an unusable value.
    #[error("{setting} is {found}, but {expected}")]
    Setting {
        /// Name of the setting, usually a key of the recipe.
        setting: Cow<'static, str>,
        /// Its value.
        found: String,
        /// Which values are allowed, or why this value is not.
        expected: String,
    },
    /// A data file is not in the format that its extension implies.
    #[error("cannot read `{}`: {reason}", path.display())]
    DataFormat {
        /// Path of the data file.
        path: PathBuf,
        /// Message of the parser, with the line.
        reason: String,
    },
    /// A data file lacks a column.
    #[error(
        "`{}` has no column `{column}`{}; its columns are {}",
        path.display(), did_you_mean(column, found), quoted_first(found)
    )]
    DataColumn {
        /// Path of the data file.
        path: PathBuf,
        /// The column that the recipe names.
        column: String,
        /// The columns of the file.
        found: Vec<String>,
    },
    /// A data file contains an unusable value.
    #[error("`{}`{}: {what} is {found}, but {expected}", path.display(), row_suffix(path, *line))]
    Data {
        /// Path of the data file.
        path: PathBuf,
        /// Line of the value, for Parquet the row, for a grammar the sentence, counted from 1; `None` if the error concerns the whole file.
        line: Option<usize>,
        /// Kind of value: "a row", "a pixel", …
        what: &'static str,
        /// The value.
        found: String,
        /// Which values are allowed, or why this value is not.
        expected: String,
    },
    /// The run folder holds a checkpoint of another recipe or seed.
    #[error("`{}` holds a run of another recipe or seed; choose another --out, or delete the folder", folder.display())]
    OtherRun {
        /// The run folder.
        folder: PathBuf,
    },
    /// The run folder holds a checkpoint of an incompatible version of this crate.
    #[error(
        "`{}` holds a checkpoint of another version of this program (format {found}, this version writes {expected}); \
         choose another --out, or delete the folder",
        folder.display()
    )]
    OtherFormat {
        /// The run folder.
        folder: PathBuf,
        /// Format of the checkpoint; 0 for the first versions, which did not record it.
        found: u32,
        /// Format that this version reads.
        expected: u32,
    },
    /// The training loss became NaN or infinite.
    #[error(
        "the loss became {loss} in epoch {epoch}; {}. A smaller learning rate may help",
        last_good_checkpoint(*last_good, folder)
    )]
    NanLoss {
        /// The loss.
        loss: f64,
        /// Epoch, counted from 1.
        epoch: usize,
        /// Epoch of the last checkpoint whose weights had a finite loss; 0 if there is no such checkpoint.
        last_good: usize,
        /// The run folder.
        folder: PathBuf,
    },
    /// A checkpoint could not be written or read.
    #[error("cannot write or read the checkpoint of epoch {epoch} in `{}`: {source}", folder.display())]
    Checkpoint {
        /// Epoch of the checkpoint.
        epoch: usize,
        /// The run folder.
        folder: PathBuf,
        /// Error of burn-train.
        source: CheckpointerError,
    },
    /// The files of a circuit are missing or invalid.
    #[error(transparent)]
    CircuitFile(#[from] CircuitFileError),
    /// Two circuits cannot be compared because they mask different models.
    #[error("the two circuits belong to different models: {}", first_few(differences))]
    DifferentModels {
        /// One description per layer that differs.
        differences: Vec<String>,
    },
    /// No row of some results asks a question of the reference to which they are compared.
    #[error("no result has a reference: the results have {ours}, but the reference has {reference}")]
    NoReference {
        /// Models, data, variables and sites of the results.
        ours: String,
        /// The same of the reference.
        reference: String,
    },
    /// The model answers alike on the examples and on their partners, so there is nothing that activation patching could
    /// restore.
    #[error(
        "the mean logit difference is {clean:.4} on the examples and {corrupted:.4} on their partners; activation patching \
         needs partners on which the model answers differently"
    )]
    ConstantMetric {
        /// Mean logit difference on the examples.
        clean: f64,
        /// Mean logit difference on their partners.
        corrupted: f64,
    },
    /// A figure could not be drawn.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// A model could not be loaded, saved or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A circuit could not be built, ablated, loaded or saved.
    #[error(transparent)]
    Circuit(#[from] CircuitError),
    /// A probe could not be built or run.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

fn last_good_checkpoint(last_good: usize, folder: &Path) -> String {
    match last_good {
        0 => format!("no checkpoint in `{}` is usable, so the next attempt starts from scratch", folder.display()),
        epoch => format!("the next attempt continues from the checkpoint of epoch {epoch} in `{}`", folder.display()),
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn key_suffix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(", {key}") }
}

/// The first names of a list that may be long.
pub(crate) fn quoted_first(names: &[String]) -> String {
    const SHOWN: usize = 20;
    match names.len().saturating_sub(SHOWN) {
        0 => quoted(names),
        more => format!("{} and {more} more", quoted(&names[..SHOWN])),
    }
}

/// The names that are most like a name that does not exist, in brackets after a space; empty if none is.
pub(crate) fn did_you_mean(name: &str, known: &[String]) -> String {
    const ALIKE: f64 = 0.8;
    let score = |known: &String| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
    let mut alike: Vec<(f64, &String)> = known.iter().map(|known| (score(known), known)).collect();
    alike.retain(|(score, _)| *score > ALIKE);
    alike.sort_by(|left, right| right.0.total_cmp(&left.0));
    match alike.iter().take(3).map(|(_, name)| format!("`{name}`")).collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        names => format!(" (did you mean {}?)", names.join(" or ")),
    }
}

fn line_suffix(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

/// The place of a row: a line of a text file, a row of Parquet, or a sentence that a grammar generated.
fn row_suffix(path: &Path, row: Option<usize>) -> String {
    let unit = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => "row",
        Some("toml") => "sentence",
        _ => "line",
    };
    row.map(|row| format!(", {unit} {row}")).unwrap_or_default()
}

impl TrainError {
    /// A [`TrainError::Setting`].
    pub(crate) fn setting(
        setting: impl Into<Cow<'static, str>>,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Setting { setting: setting.into(), found: found.to_string(), expected: expected.into() }
    }

    /// Names the section of a [`TrainError::Setting`] before its key. Other errors stay as they are.
    pub(crate) fn within(self, section: &str) -> Self {
        match self {
            Self::Setting { setting, found, expected } => {
                Self::Setting { setting: format!("{section}.{setting}").into(), found, expected }
            }
            other => other,
        }
    }

    /// Returns a [`TrainError::Setting`] unless the setting `holds`.
    pub(crate) fn check(
        holds: bool,
        setting: impl Into<Cow<'static, str>>,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::setting(setting, found, expected)) }
    }

    /// Converts an I/O error, for `map_err`.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
