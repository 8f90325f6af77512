//! The grammar of recipes: which model, on which data, answers which question, with which masks, judged how.

mod behaviour;
mod circuit_schema;
mod data;
mod document;
mod grid;
mod old_form;
mod schema;
mod sections;

pub use behaviour::{Answer, BehaviourSection, Metric, SetName};
pub use data::{
    ArithmeticSource, Column, DataSection, Files, Named, Partner, Pixels, Read, ReadAt, SetFiles, Split, Token,
};
pub use document::Document;
pub use grid::{Cell, Grid};
pub use schema::recipe_schema;
pub use sections::{AblationName, EvaluationSection, Kind, ProbeSection, Recipe, TrainingSection};
