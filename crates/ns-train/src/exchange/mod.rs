//! Circuits on disk: loading, exchange with the Python package NeuroSurgeon, and conversion to plain models.
//!
//! A circuit consists of a model folder, mask parameters and a `circuit_config.json`. [`load_circuit`] loads it from a
//! run folder, an exported folder, a file of mask parameters or a state dict of the Python package.

mod compact;
mod error;
mod materialize;
mod python;
mod source;

#[cfg(test)]
mod tests;

pub use compact::{CompactedMlp, Compaction};
pub use error::CircuitFileError;
pub(crate) use error::first_few;
pub use materialize::{CircuitPart, materialize};
pub use python::{check_base, export_masks, export_state_dict};
pub use source::{CircuitFiles, load_circuit};
