//! Options that all training commands share, and the names of run folders.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::backend::BackendOption;

/// One recipe, and how it is run.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunOptions {
    /// The recipe (TOML)
    pub(crate) recipe: PathBuf,
    /// Seed of initial weights, shuffles and samples
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder of the run, or of all runs if the recipe has several [default: runs/<recipe>-<seed>]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Check recipe, model and data, print what would be trained, and train nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) backend: BackendOption,
}

impl RunOptions {
    /// The folder of the run, or of all runs.
    pub(crate) fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| default_run_folder(&self.recipe, self.seed))
    }
}

/// `<recipe>-<seed>`.
pub(crate) fn run_name(recipe: &Path, seed: u64) -> String {
    format!("{}-{seed}", recipe.file_stem().unwrap_or_default().to_string_lossy())
}

/// `runs/<recipe>-<seed>`.
pub(crate) fn default_run_folder(recipe: &Path, seed: u64) -> PathBuf {
    Path::new("runs").join(run_name(recipe, seed))
}
