//! Recipes: TOML files that say which model, on which data, answers which question, with which masks, judged how.

mod attribution;
mod behaviour;
mod circuit_schema;
mod data;
mod data_checks;
mod document;
mod evaluation;
mod grid;
mod kind;
mod model_source;
mod old_form;
mod optimizer;
mod schedule;
mod schema;
mod sections;
mod task;

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::TrainError;

pub use attribution::{AttributionMethod, AttributionSection, Objective, RankBy};
pub use behaviour::{Answer, AnswerClasses, AnswerColumns, BehaviourSection, Metric, OwnAnswer, SetName};
pub use data::{
    ArithmeticSource, Column, DataSection, Files, Named, Partner, Pixels, Read, ReadAt, SetFiles, Split, Token,
};
pub(crate) use data_checks::no_source;
pub use document::Document;
pub use evaluation::{AblationName, EvaluationSection};
pub use grid::{Cell, Grid};
pub use kind::Kind;
pub use model_source::ModelSource;
pub(crate) use model_source::fresh_config;
pub use optimizer::OptimizerRecipe;
pub use schedule::Schedule;
pub(crate) use schedule::check_controls;
pub use schema::recipe_schema;
pub(crate) use sections::MASK_PROBABILITY;
pub use sections::{ProbeSection, Recipe, TrainingSection};

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
