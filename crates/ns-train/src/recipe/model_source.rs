//! Where the model of a recipe comes from.

use std::path::{Path, PathBuf};

use ns_models::resolve_model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::TrainError;

/// Source of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ModelSource {
    /// A model folder, or the name of a model in the Hugging Face cache.
    Folder(PathBuf),
    /// The keys of a `config.json`: the model is newly initialised.
    Config(#[schemars(with = "serde_json::Map<String, Value>")] Value),
}

/// Resolves the model of a recipe: a folder relative to the recipe file, or else a name in the Hugging Face cache.
pub(crate) fn resolve_model_folder(recipe: &Path, model: &Path) -> Result<PathBuf, TrainError> {
    let folder = recipe.parent().map_or_else(|| model.to_path_buf(), |parent| parent.join(model));
    match folder.is_dir() {
        true => Ok(folder),
        false => Ok(resolve_model(&model.to_string_lossy())?),
    }
}
