//! The learner: what is trained, on which data, and what it leaves behind.
//!
//! A run is a recipe (TOML) plus a seed. It leaves a folder with the recipe, metrics (JSON lines), checkpoints, results
//! and figures; killed at any moment it continues from its last checkpoint, and on the same backend it gives the same
//! numbers again, because shuffles, splits and noise are functions of seed and epoch.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;

mod tasks;

mod data;

mod recipe;

mod base_model_pool;
mod interrupt;
mod parallel;
mod progress;
mod run;

mod learner;

mod initialize;
mod model_training;
mod probe_report;
mod probe_training;

mod ablation_study;
mod subnetwork_report;
mod subnetwork_training;
mod task_recipe;
mod task_report;
mod task_training;

mod results;
mod run_figures;

mod circuit_files;
mod visualizer;

mod bench;
mod mask_bench;
mod probe_bench;

pub mod figures;

pub mod verify;

pub use ablation_study::{AblationReport, AblationRow, AblationStudy, Behaviour, Controls};
pub use base_model_pool::BaseModelPool;
pub use bench::{ForwardBench, StepTimes, time_probe_steps};
pub use circuit_files::{
    CircuitFileError, CircuitFiles, CompactedMlp, Compaction, Part, check_base, export_masks, export_state_dict,
    load_circuit, materialize,
};
pub use data::{
    DataRecipe, ImageRecipe, LabelledImages, Normalization, RowSplit, SplitRecipe, Table, TaskBatch, TaskData,
    TextClassification, TextRecipe, WordLabels, WordRecipe,
};
pub use error::TrainError;
pub use interrupt::Interrupt;
pub use learner::{Learner, Metrics, Outcome, Trainable};
pub use mask_bench::{MaskBench, MaskTimes};
pub use model_training::{ModelTraining, train_model};
pub use parallel::run_parallel;
pub use probe_bench::{ProbeBench, ProbeBenchConfig};
pub use probe_report::{ProbeReport, ProbeRow, train_probe};
pub use probe_training::{DEFAULT_ACTIVATION_CACHE_MB, EvaluationRecipe, ProbeRecipe, ProbeTraining};
pub use progress::Progress;
pub use recipe::{OptimizerRecipe, TrainRecipe, load_recipe};
pub use results::{add_results, markdown, table, write_results, write_rows};
pub use run::Run;
pub use run_figures::{draw_probes, draw_run, draw_training};
pub use subnetwork_report::{SubnetworkRow, draw_subnetworks, train_subnetwork};
pub use subnetwork_training::{SubnetworkRecipe, SubnetworkTraining, SubnetworkVariant};
pub use task_recipe::{ModelSource, TaskRecipe};
pub use task_report::{CircuitRow, TaskReport, ablate_run, draw_circuit_sizes, train_task};
pub use task_training::TaskTraining;
pub use tasks::{Arithmetic, Examples, Operation, Split, Variable};
pub use visualizer::{
    CircuitView, Granularity, VisualizerConfig, circuit_page, draw_circuits, draw_heat_map, heat_map_page,
    overlap_table,
};
