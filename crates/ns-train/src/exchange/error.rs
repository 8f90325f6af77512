//! Errors of circuit files.

use std::path::{Path, PathBuf};

/// Error while finding, exchanging or materialising a circuit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CircuitFileError {
    /// The folder contains no masks.
    #[error(
        "`{}` contains no {expected}; pass the folder of a finished run, or a file of mask parameters",
        folder.display()
    )]
    NoMasks {
        /// The folder.
        folder: PathBuf,
        /// Names of the files that would have been read.
        expected: String,
    },
    /// The masks have no configuration.
    #[error(
        "no configuration found for the masks in `{}`; pass --config, or put {expected} in the same folder",
        masks.display()
    )]
    NoConfig {
        /// The file with the masks.
        masks: PathBuf,
        /// Names of the files that would have been read.
        expected: String,
    },
    /// The file is not a circuit configuration.
    #[error("`{}` is not a circuit configuration: {reason}", path.display())]
    InvalidConfig {
        /// Path of the file.
        path: PathBuf,
        /// Message of the parser.
        reason: String,
    },
    /// The model of the circuit is unknown, or its folder no longer exists.
    #[error("no model found for the circuit in `{}`; pass --model{}", circuit.display(), gone_note(gone.as_deref()))]
    NoModel {
        /// The circuit, as requested.
        circuit: PathBuf,
        /// The model folder that the run's recipe names; `None` if no recipe names one.
        gone: Option<PathBuf>,
    },
    /// The base weights in a state dict differ from the model's.
    #[error(
        "the base weights in `{}` differ from the model's: {}; its masks were trained on another model",
        state_dict.display(), first_few(differences)
    )]
    OtherBase {
        /// Path of the state dict.
        state_dict: PathBuf,
        /// One description per tensor that differs.
        differences: Vec<String>,
    },
    /// The output folder is the folder of the circuit's model.
    #[error("`{}` is the model's own folder, which would be overwritten; choose another --out", folder.display())]
    OverwritesModel {
        /// The output folder.
        folder: PathBuf,
    },
    /// The units that a mask removes cannot be removed from the model.
    #[error("cannot compact the mask on `{layer}`: {reason}")]
    CannotCompact {
        /// HF name of the masked layer.
        layer: String,
        /// Why its units cannot be removed.
        reason: String,
    },
    /// Some block has no dead hidden units, so no block can be made smaller.
    #[error(
        "nothing to remove: all {width} hidden units of `{layer}` are alive, and config.json has one {field} for all \
         blocks"
    )]
    NothingToRemove {
        /// HF name of the first linear layer of the MLP.
        layer: String,
        /// Number of its hidden units.
        width: usize,
        /// Field of `config.json` with the number of hidden units.
        field: &'static str,
    },
}

fn gone_note(gone: Option<&Path>) -> String {
    gone.map(|gone| format!(" (its run used `{}`, which no longer exists)", gone.display())).unwrap_or_default()
}

/// Joins the first five entries and counts the rest.
pub(crate) fn first_few(differences: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = differences.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match differences.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
