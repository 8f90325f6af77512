//! `circuit import STATE_DICT`: from the Python reference.

use std::path::PathBuf;

use clap::Args;
use ns_train::{CircuitFiles, check_base, export_masks};

use crate::{backend::BackendOption, output::say};

/// Read a circuit of Python NeuroSurgeon: a file of masks, or the state dict of a CircuitModel or a probe
///
/// Save it there with `safetensors.torch.save_file({name: tensor.clone() for name, tensor in
/// model.state_dict().items()}, "state_dict.safetensors")`, and the configuration with
/// `model.config.to_json_file("circuit_config.json")`. Base weights that are not those of --model are an error.
#[derive(Args)]
pub(crate) struct Import {
    /// The safetensors file, or a folder with masks.safetensors or state_dict.safetensors
    state_dict: PathBuf,
    /// Folder of the model without masks
    #[arg(long)]
    model: PathBuf,
    /// JSON of the CircuitConfig, or of a probe's configuration [default: circuit_config.json or probe_config.json
    /// beside the file]
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder to write
    #[arg(long)]
    out: PathBuf,
    /// Take the masks although the base weights in the file are not the model's
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
        let l0 = circuit.l0();
        say!("{} of {} weights in {} layer(s), in {}", l0.total, l0.max, circuit.layers().len(), self.out.display());
        if compared > 0 {
            say!("all {compared} base tensors of the state dict are those of {}", self.model.display());
        }
        Ok(())
    }
}
