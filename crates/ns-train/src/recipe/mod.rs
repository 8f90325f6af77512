//! Recipes: TOML files that describe runs.

pub mod grammar;
mod model_source;
mod optimizer;
mod schedule;

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::TrainError;

pub use model_source::ModelSource;
pub(crate) use model_source::resolve_model_folder;
pub use optimizer::OptimizerRecipe;
pub use schedule::Schedule;
pub(crate) use schedule::check_controls;

/// Reads a value from a TOML file.
///
/// # Errors
/// Returns [`TrainError::Io`] if the file cannot be read, and [`TrainError::Recipe`] with line and column if it is not
/// valid TOML or has missing or unknown keys.
pub fn read_toml<R: DeserializeOwned>(path: impl AsRef<Path>) -> Result<R, TrainError> {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).map_err(TrainError::io("read", path))?;
    toml::from_str(&text).map_err(|error| TrainError::Recipe { path: path.into(), reason: error.to_string() })
}
