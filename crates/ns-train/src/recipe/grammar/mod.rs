//! The grammar of recipes: which model, on which data, answers which question, with which masks, judged how.

mod data;
mod document;
mod grid;
mod sections;

pub use data::{
    ArithmeticSource, Column, DataSection, Files, Named, Partner, Pixels, Read, ReadAt, SetFiles, Split, Token,
};
pub use document::Document;
pub use grid::{Cell, Grid};
pub use sections::{
    AblationName, Answer, BehaviourSection, EvaluationSection, Kind, Metric, ProbeSection, Recipe, SetName,
    TrainingSection,
};
