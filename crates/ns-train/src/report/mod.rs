//! Results of runs as JSON files, Markdown tables, terminal pages and figures. No other module of this crate creates
//! them.

mod behaviour;
mod circuit_tests;
mod circuits;
mod comparison;
mod comparison_table;
mod faithfulness;
mod names;
mod patching;
mod reference;
mod results;
mod row_figures;
mod row_table;
mod rows;
mod table;
mod training;

pub mod figures;
mod visualizer;

pub use circuit_tests::circuit_tests_page;
pub use circuits::{ablation_table, replaced_table};
pub use comparison::{ReferenceComparison, compare_with_reference};
pub use comparison_table::reference_table;
pub use faithfulness::{curve_summary, curve_table, draw_curve};
pub use patching::{patch_table, write_patching};
pub use reference::{ReferenceRow, read_reference};
pub use results::{read_rows, write_json, write_rows};
pub use row_figures::draw_rows;
pub use row_table::row_table;
pub use rows::{draw_run, write_results};
pub use table::markdown;
pub use training::draw_training;
pub use visualizer::{
    CircuitView, Granularity, VisualizerConfig, circuit_page, draw_circuits, draw_heat_map, heat_map_page,
    overlap_table,
};
