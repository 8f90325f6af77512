//! Options that say where circuits lie.

use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::tensor::Device;
use clap::Args;
use ns_circuit::CircuitModel;
use ns_models::AnyModel;
use ns_train::CircuitFiles;

/// What the masks on disk are for, where their folder does not say so.
#[derive(Args, Clone, Debug)]
pub(crate) struct SourceOptions {
    /// Folder of the model [default: the one that the run's recipe names]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Configuration of the masks, as JSON [default: probe_config.json or circuit_config.json beside them]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl SourceOptions {
    /// The circuit at `path`, in evaluation mode.
    pub(crate) fn load(&self, path: &Path, device: &Device) -> anyhow::Result<CircuitModel<AnyModel>> {
        let load = || CircuitFiles::find(path, self.config.as_deref(), self.model.as_deref())?.load(device);
        load().with_context(|| format!("cannot load the circuit in `{}`", path.display()))
    }
}

/// A name for people: that of the run's folder or the mask file.
pub(crate) fn label(path: &Path) -> String {
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
