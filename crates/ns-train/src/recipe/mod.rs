//! Recipes: TOML files that describe a run.

mod arithmetic_model;
mod circuit_probe;
pub mod grammar;
mod optimizer;
mod schedule;
mod subnetwork_probe;
mod task;

use std::path::{Path, PathBuf};

use ns_models::resolve_model;
use serde::de::DeserializeOwned;

use crate::error::TrainError;

pub use arithmetic_model::TrainRecipe;
pub use circuit_probe::{EvaluationRecipe, ProbeRecipe};
pub use optimizer::OptimizerRecipe;
pub use schedule::Schedule;
pub(crate) use schedule::check_controls;
pub use subnetwork_probe::{SubnetworkRecipe, SubnetworkVariant};
pub use task::{ModelSource, TaskRecipe};

/// Reads a recipe from a TOML file.
///
/// # Errors
/// Returns [`TrainError::Io`] if the file cannot be read, and [`TrainError::Recipe`] with line and column if it is not
/// valid TOML or has missing or unknown keys.
pub fn load_recipe<R: DeserializeOwned>(path: impl AsRef<Path>) -> Result<R, TrainError> {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).map_err(TrainError::io("read", path))?;
    toml::from_str(&text).map_err(|error| TrainError::Recipe { path: path.into(), reason: error.to_string() })
}

/// Resolves the model of a recipe: a folder relative to the recipe file, or else a name in the Hugging Face cache.
fn resolve_model_folder(recipe: &Path, model: &Path) -> Result<PathBuf, TrainError> {
    let folder = recipe.parent().map_or_else(|| model.to_path_buf(), |parent| parent.join(model));
    match folder.is_dir() {
        true => Ok(folder),
        false => Ok(resolve_model(&model.to_string_lossy())?),
    }
}
