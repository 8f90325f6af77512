//! Options that locate the model and the configuration of a circuit, and names of circuits for figures.

use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::tensor::Device;
use clap::Args;
use ns_circuit::CircuitModel;
use ns_models::AnyModel;
use ns_train::{CircuitFiles, figures::count};

use crate::output::say;

/// Model and configuration of masks whose folder does not contain or name them.
#[derive(Args, Clone, Debug)]
pub(crate) struct SourceOptions {
    /// Folder of the model [default: the model of the run]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Configuration of the masks (JSON) [default: circuit_config.json or probe_config.json next to them]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl SourceOptions {
    /// Loads the circuit at `path`, in evaluation mode.
    pub(crate) fn load(&self, path: &Path, device: &Device) -> anyhow::Result<CircuitModel<AnyModel>> {
        let load = || CircuitFiles::find(path, self.config.as_deref(), self.model.as_deref())?.load(device);
        load().with_context(|| format!("cannot load the circuit in `{}`", path.display()))
    }
}

/// Display name of a circuit: the name of the run folder, or of the mask file without its extension.
pub(crate) fn label(path: &Path) -> String {
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Prints the size of a circuit, and the folder that it was written to.
pub(super) fn say_written(circuit: &CircuitModel<AnyModel>, folder: &Path) {
    let (l0, layers) = (circuit.l0(), circuit.layers().len());
    let (total, max) = (count(l0.weights as f64), count(l0.max_weights as f64));
    say!("{total} of {max} weights in {layers} layer(s), written to {}", folder.display());
}
