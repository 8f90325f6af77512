//! Where the model of a recipe comes from.

use std::path::{Path, PathBuf};

use ns_models::resolve_model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::TrainError;

/// Key in the table of a fresh model: the folder with its tokenizer, relative to the recipe.
pub(super) const TOKENIZER: &str = "tokenizer";

/// Source of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ModelSource {
    /// A model folder, or the name of a model in the Hugging Face cache.
    Folder(PathBuf),
    /// The keys of a `config.json`, and `tokenizer`, the folder of its tokenizer: the model is newly initialised.
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

/// Resolves the folder of the tokenizer in the table of a fresh model, relative to the recipe file.
pub(super) fn resolve_tokenizer(recipe: &Path, mut config: Value) -> Result<Value, TrainError> {
    let Some(folder) = config.get(TOKENIZER) else { return Ok(config) };
    let expected = "it must be the folder with tokenizer.json, relative to the recipe";
    let name = folder.as_str().ok_or_else(|| TrainError::setting("model.tokenizer", folder, expected))?;
    let folder = recipe.parent().map_or_else(|| name.into(), |parent| parent.join(name));
    TrainError::check(folder.is_dir(), "model.tokenizer", format!("`{}`", folder.display()), expected)?;
    config[TOKENIZER] = folder.to_string_lossy().into();
    Ok(config)
}

/// The `config.json` of a fresh model.
pub(crate) fn fresh_config(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(keys) = config.as_object_mut() {
        keys.remove(TOKENIZER);
    }
    config
}
