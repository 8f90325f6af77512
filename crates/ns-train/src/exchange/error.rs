//! What can go wrong with a circuit's files.

use std::path::PathBuf;

/// Error of finding, exchanging or materialising a circuit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CircuitFileError {
    /// A folder without masks.
    #[error("`{}` holds no {expected}: a circuit is the folder of a finished probe run, or a file of masks", folder.display())]
    NoMasks {
        /// The folder.
        folder: PathBuf,
        /// The files that were looked for.
        expected: String,
    },
    /// Nothing says which layers are masked and how.
    #[error("nothing says how the masks in `{}` are made: give --config, or put {expected} beside them", masks.display())]
    NoConfig {
        /// The file of masks.
        masks: PathBuf,
        /// The files that were looked for.
        expected: String,
    },
    /// A configuration that is none.
    #[error("`{}` is no circuit configuration: {reason}", path.display())]
    InvalidConfig {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        reason: String,
    },
    /// Nothing says which model the circuit is in.
    #[error("nothing says which model the circuit in `{}` belongs to: give --model{}", circuit.display(), gone.as_ref().map(|gone| format!(" (its run was of `{}`, which is no longer there)", gone.display())).unwrap_or_default())]
    NoModel {
        /// The circuit.
        circuit: PathBuf,
        /// The model folder that the run names, where it does.
        gone: Option<PathBuf>,
    },
    /// A state dict whose base weights are not the model's.
    #[error("the base weights of `{}` are not those of the model: {}; its masks were learned for another", state_dict.display(), list(differences))]
    OtherBase {
        /// The state dict.
        state_dict: PathBuf,
        /// What differs, tensor by tensor.
        differences: Vec<String>,
    },
    /// A model would be written over the one that it is made from.
    #[error("`{}` is the folder of the model itself, which would be lost; choose another --out", folder.display())]
    OverwritesModel {
        /// The folder.
        folder: PathBuf,
    },
    /// Units that cannot be removed.
    #[error("cannot compact the mask on `{layer}`: {reason}")]
    CannotCompact {
        /// The masked layer.
        layer: String,
        /// Why not.
        reason: String,
    },
    /// Units that could be removed, but there are none in some block.
    #[error(
        "nothing to remove: all {width} hidden units of `{layer}` are alive, and a configuration has one {field} for all blocks"
    )]
    NothingToRemove {
        /// The layer onto the hidden units.
        layer: String,
        /// Their number.
        width: usize,
        /// The configuration's field.
        field: &'static str,
    },
}

fn list(differences: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = differences.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match differences.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
