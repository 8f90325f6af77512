//! Recipes: what a run does, as TOML.

mod arithmetic_model;
mod circuit_probe;
mod optimizer;
mod subnetwork_probe;
mod task;

use std::path::{Path, PathBuf};

use ns_models::resolve_model;
use serde::de::DeserializeOwned;

use crate::error::TrainError;

pub use arithmetic_model::TrainRecipe;
pub use circuit_probe::{EvaluationRecipe, ProbeRecipe};
pub use optimizer::OptimizerRecipe;
pub use subnetwork_probe::{SubnetworkRecipe, SubnetworkVariant};
pub use task::{ModelSource, TaskRecipe};

/// Reads a recipe.
///
/// # Errors
/// [`TrainError::Io`], [`TrainError::Recipe`] with the place of the mistake.
pub fn load_recipe<R: DeserializeOwned>(path: &Path) -> Result<R, TrainError> {
    let text = std::fs::read_to_string(path).map_err(TrainError::io("read", path))?;
    toml::from_str(&text).map_err(|error| TrainError::Recipe { path: path.into(), reason: error.to_string() })
}

/// A folder beside the recipe, or a name in the Hub's cache.
fn resolve_beside(recipe: &Path, model: &Path) -> Result<PathBuf, TrainError> {
    let beside = recipe.parent().map_or_else(|| model.to_path_buf(), |folder| folder.join(model));
    match beside.is_dir() {
        true => Ok(beside),
        false => Ok(resolve_model(&model.to_string_lossy())?),
    }
}
