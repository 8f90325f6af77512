//! `circuit import STATE_DICT`: reads a circuit of Python NeuroSurgeon.

use std::path::PathBuf;

use clap::Args;
use ns_train::{CircuitFiles, check_base, export_masks};

use super::source::say_written;
use crate::{backend::BackendOption, output::say};

/// Read a circuit of Python NeuroSurgeon
///
/// The command reads mask parameters, or the whole state dict of a CircuitModel, CircuitProbe or SubnetworkProbe, and
/// writes masks.safetensors and circuit_config.json. Base weights in the file must be equal to those of --model.
///
/// In Python, save the state dict with `safetensors.torch.save_file({name: tensor.clone() for name, tensor in
/// model.state_dict().items()}, "state_dict.safetensors")` and the configuration with
/// `model.config.to_json_file("circuit_config.json")`.
///
/// Example: cargo xtask circuit import state_dict.safetensors --model models/arithmetic --out imported
#[derive(Args)]
pub(crate) struct Import {
    /// Safetensors file, or a folder with masks.safetensors or state_dict.safetensors
    state_dict: PathBuf,
    /// Folder of the base model, without masks
    #[arg(long)]
    model: PathBuf,
    /// Configuration of the circuit or of the probe (JSON) [default: circuit_config.json or probe_config.json next to
    /// the file]
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder to write
    #[arg(long)]
    out: PathBuf,
    /// Import the masks even if the base weights in the file differ from those of the model
    #[arg(long)]
    any_base: bool,
    #[command(flatten)]
    backend: BackendOption,
}

impl Import {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let device = self.backend.device()?;
        let files = CircuitFiles::find_reference(&self.state_dict, self.config.as_deref(), Some(&self.model))?;
        let circuit = files.load(&device)?;
        let compared = if self.any_base { 0 } else { check_base(&files, &circuit)? };
        export_masks(&circuit, "", &self.out)?;
        say_written(&circuit, &self.out);
        if compared > 0 {
            say!("all {compared} base tensors of the state dict are equal to those of {}", self.model.display());
        }
        Ok(())
    }
}
