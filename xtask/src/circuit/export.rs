//! `circuit export CIRCUIT`: for the Python reference.

use std::path::PathBuf;

use clap::Args;
use ns_train::{CircuitFiles, export_masks, export_state_dict};

use crate::{backend::BackendOption, output::say};

/// Write a circuit for Python NeuroSurgeon: circuit_config.json, and the masks or a whole state dict
///
/// The masks have the names and shapes that the reference's CircuitModel gives them; in Python,
/// `CircuitModel(CircuitConfig(**json.load(open("circuit_config.json"))), base).load_state_dict(load_file(…))` reads a
/// whole state dict strictly, and with `strict=False` masks that were written with `--prefix wrapped_model.`.
#[derive(Args)]
pub(crate) struct Export {
    /// Folder of a finished probe run or an earlier export, or a file of masks with circuit_config.json beside it
    circuit: PathBuf,
    /// Folder of the model [default: the one that the run was of]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder to write
    #[arg(long)]
    out: PathBuf,
    /// What to put before the name of every mask
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "state_dict")]
    prefix: String,
    /// Write the base weights, too: the state dict of a CircuitModel, as state_dict.safetensors
    #[arg(long)]
    state_dict: bool,
    #[command(flatten)]
    backend: BackendOption,
}

impl Export {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let files = CircuitFiles::find(&self.circuit, None, self.model.as_deref())?;
        let circuit = files.load(&self.backend.device()?)?;
        match self.state_dict {
            true => export_state_dict(&circuit, &self.out)?,
            false => export_masks(&circuit, &self.prefix, &self.out)?,
        }
        let l0 = circuit.l0();
        let layers = circuit.layers().len();
        say!("{} of {} weights in {layers} layer(s), in {}", l0.total, l0.max, self.out.display());
        Ok(())
    }
}
