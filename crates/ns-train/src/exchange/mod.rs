//! Circuits on disk: found and read, exchanged with the Python reference, baked into models.
//!
//! A circuit is a model folder, mask parameters and a `circuit_config.json`. [`load_circuit`] is the door to it,
//! whatever it comes from: the folder of a probe's run, an exported folder, a file of masks, a state dict of the
//! reference.

mod compact;
mod error;
mod materialize;
mod python;
mod source;

#[cfg(test)]
mod tests;

pub use compact::{CompactedMlp, Compaction};
pub use error::CircuitFileError;
pub use materialize::{CircuitPart, materialize};
pub use python::{check_base, export_masks, export_state_dict};
pub use source::{CircuitFiles, load_circuit};
