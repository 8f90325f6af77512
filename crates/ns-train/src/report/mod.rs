//! Results of runs as JSON files, Markdown tables, terminal pages and figures. No other module of this crate creates
//! them.

mod accuracy_size;
mod behaviour;
mod circuits;
mod names;
mod probes;
mod results;
mod row_figures;
mod row_table;
mod rows;
mod subnetworks;
mod table;
mod training;

pub mod figures;
mod visualizer;

pub use circuits::{ablation_table, circuit_table, draw_circuit_sizes};
pub use probes::{draw_probes, probe_table, write_probe};
pub use results::{add_results, write_json, write_rows};
pub use row_figures::draw_rows;
pub use row_table::row_table;
pub use rows::{draw_run, write_results};
pub use subnetworks::{draw_subnetworks, subnetwork_table};
pub use table::markdown;
pub use training::draw_training;
pub use visualizer::{
    CircuitView, Granularity, VisualizerConfig, circuit_page, draw_circuits, draw_heat_map, heat_map_page,
    overlap_table,
};
