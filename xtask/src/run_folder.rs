//! Names of run folders.

use std::path::{Path, PathBuf};

/// `<recipe>-<seed>`.
pub(crate) fn run_name(recipe: &Path, seed: u64) -> String {
    format!("{}-{seed}", recipe.file_stem().unwrap_or_default().to_string_lossy())
}

/// `runs/<recipe>-<seed>`.
pub(crate) fn default_run_folder(recipe: &Path, seed: u64) -> PathBuf {
    Path::new("runs").join(run_name(recipe, seed))
}
