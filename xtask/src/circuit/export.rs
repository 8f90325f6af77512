//! `circuit export CIRCUIT`: writes a circuit for Python NeuroSurgeon.

use std::path::PathBuf;

use clap::Args;
use ns_train::{CircuitFiles, export_masks, export_state_dict};

use super::source::say_written;
use crate::backend::BackendOption;

/// Write a circuit for Python NeuroSurgeon
///
/// The command writes circuit_config.json and masks.safetensors, or with --state-dict the whole state dict of a
/// CircuitModel, state_dict.safetensors. Tensors have the names and shapes that CircuitModel in Python uses.
///
/// In Python, `model = CircuitModel(CircuitConfig(**json.load(open("circuit_config.json"))), base)` creates the model
/// and `model.load_state_dict(load_file("state_dict.safetensors"))` loads a whole state dict. Masks alone need
/// `--prefix wrapped_model.` in this command and `strict=False` in Python.
///
/// Example: cargo xtask circuit export runs/demo/probe-a2-attn-0 --out exported --state-dict
#[derive(Args)]
pub(crate) struct Export {
    /// Folder of a finished run or of an import, or a mask file with circuit_config.json next to it
    circuit: PathBuf,
    /// Folder of the model [default: the model of the run]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder to write
    #[arg(long)]
    out: PathBuf,
    /// Prefix for the name of every mask, e.g. `wrapped_model.`
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "state_dict")]
    prefix: String,
    /// Write masks and base weights as the state dict of a CircuitModel, state_dict.safetensors
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
        say_written(&circuit, &self.out);
        Ok(())
    }
}
