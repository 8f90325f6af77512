//! Figures, terminal pages and overlap tables of one or two circuits of a model.
//!
//! Circuit maps show what NeuroSurgeon's `Visualizer` shows, for every model family; layer sizes and heads are read
//! from the model. Deviations: a parameter without a mask is counted as `not masked`, where NeuroSurgeon counts it as
//! part of the circuit, and biases can also be counted per attention head.

mod config;
mod count;
mod draw;
mod overlap_table;
mod view;

pub use config::{Granularity, VisualizerConfig};
pub use draw::{circuit_page, draw_circuits, draw_heat_map, heat_map_page};
pub use overlap_table::overlap_table;
pub use view::CircuitView;

#[cfg(test)]
mod tests;
