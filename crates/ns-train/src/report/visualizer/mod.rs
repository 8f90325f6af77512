//! One or two circuits over the layers of their model: figures, pages for a terminal, and tables of their overlap.
//!
//! What NeuroSurgeon's `Visualizer` draws, for every family, with sizes and heads taken from the model itself. Deviations:
//! a parameter that no circuit masks is `not masked` here and part of the circuit there; biases can be shown with
//! attention heads, too.

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
