//! Data that models and probes are trained on.

mod arithmetic;

pub use arithmetic::{Arithmetic, Examples, Operation, Split, Variable};
