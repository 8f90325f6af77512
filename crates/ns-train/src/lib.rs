//! The learner: what is trained, on which data, and what it leaves behind.
//!
//! A run is a recipe (TOML) plus a seed. It leaves a folder with the recipe, metrics (JSON lines), checkpoints, results
//! and figures; killed at any moment it continues from its last checkpoint, and on the same backend it gives the same
//! numbers again, because shuffles, splits and noise are functions of seed and epoch.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;

mod data;
mod recipe;

mod evaluate;
mod run;
mod train;

mod exchange;
mod report;

#[cfg(feature = "bench")]
mod bench;
#[cfg(feature = "verify")]
pub mod verify;

#[cfg(feature = "bench")]
pub use bench::{ForwardBench, MaskBench, MaskTimes, ProbeBench, ProbeBenchConfig, StepTimes, time_probe_steps};
pub use data::{
    Arithmetic, DataRecipe, Examples, ImageRecipe, LabelledImages, Normalization, Operation, RowSplit, Split,
    SplitRecipe, Table, TaskBatch, TaskData, TextClassification, TextRecipe, Variable, WordLabels, WordRecipe,
};
pub use error::TrainError;
pub use evaluate::{
    AblationReport, AblationRow, AblationStudy, Behaviour, CircuitRow, Controls, ProbeRow, SubnetworkRow, ablate_run,
};
pub use exchange::{
    CircuitFileError, CircuitFiles, CircuitPart, CompactedMlp, Compaction, check_base, export_masks, export_state_dict,
    load_circuit, materialize,
};
pub use recipe::{
    EvaluationRecipe, ModelSource, OptimizerRecipe, ProbeRecipe, SubnetworkRecipe, SubnetworkVariant, TaskRecipe,
    TrainRecipe, load_recipe,
};
pub use report::{
    CircuitView, Granularity, VisualizerConfig, ablation_table, add_results, circuit_page, circuit_table,
    draw_circuit_sizes, draw_circuits, draw_heat_map, draw_probes, draw_subnetworks, draw_training, figures,
    heat_map_page, markdown, overlap_table, probe_table, subnetwork_table, write_json, write_probe, write_rows,
};
pub use run::{Interrupt, Metrics, Progress, Run, run_parallel};
pub use train::{
    BaseModelPool, DEFAULT_ACTIVATION_CACHE_MB, Learner, ModelTraining, Outcome, ProbeReport, ProbeTraining,
    SubnetworkTraining, TaskReport, TaskTraining, Trainable, train_model, train_probe, train_subnetwork, train_task,
};
