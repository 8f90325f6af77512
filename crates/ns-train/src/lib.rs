//! Trains models, circuits and probes from recipes, evaluates them and reports the results.
//!
//! A *run* trains one recipe with one seed in one folder. A recipe is a TOML file that names the model, the data and
//! the optimiser and, for circuits and probes, the masks. The run folder holds the recipe with its seed
//! (`recipe.toml`), one line of metrics per epoch (`metrics.jsonl`) and checkpoints; a finished run adds the trained
//! weights or mask parameters, and the functions of `report` add tables and figures. A run that is interrupted or
//! killed continues from its last checkpoint. Shuffles, splits and noise depend only on seed, epoch and step, so on the
//! same backend a resumed run computes the same numbers as an uninterrupted one.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use ns_train::{BaseModelPool, Interrupt, Job, row_table};
//!
//! let job = Job::single("models/arithmetic/probe-a2-attn.toml")?.in_folder("runs/a2");
//! let models = BaseModelPool::new(&Device::default(), 1024);
//! if let Some(report) = job.train(&models, &Interrupt::on_signals())? {
//!     println!("{}", row_table(&report.rows));
//! }
//! # Ok::<(), ns_train::TrainError>(())
//! ```
//!
//! # Modules
//!
//! Everything is exported at the root of the crate, except the items of [`figures`], [`recipe`],
//! [`statistics`] and `verify`.
//!
//! - `data`: the examples ([`Examples`]) of modular arithmetic, or of texts, tokens and images in tables ([`Table`]);
//!   their splits and batches ([`Dataset`]).
//! - [`recipe`]: the grammar of recipes. A [`Document`](recipe::Document) is a recipe file, a [`Grid`](recipe::Grid) its
//!   runs, a [`Recipe`](recipe::Recipe) one run.
//! - `train`: the [`Trainer`], which trains any [`Objective`] on any [`Dataset`], and the [`Job`], a run of a recipe in a
//!   folder.
//! - [`statistics`]: faithfulness curves, rankings, permutation tests and hypothesis tests of circuits.
//! - `evaluate`: the measurements ([`Row`]): 1-nearest-neighbour accuracy, classifiers, and ablations with random controls
//!   ([`AblationStudy`], [`ablate_run`]), and activation patching ([`Patching`]).
//! - `run`: the run folder ([`Run`]), [`Metrics`], [`Progress`], Ctrl-C ([`Interrupt`]) and parallel runs
//!   ([`run_parallel`]).
//! - `report`: tables ([`row_table`], [`reference_table`], [`markdown`]), JSON ([`write_results`]), charts ([`figures`]) and drawings of circuits
//!   ([`draw_circuits`], [`draw_heat_map`]).
//! - `exchange`: circuits on disk. Loads a circuit ([`load_circuit`]), exchanges it with the Python package
//!   ([`export_masks`], [`export_state_dict`]) and writes it as a plain model ([`materialize`]).
//! - `verify`, with the cargo feature `verify`: runs test cases from PyTorch and compares every tensor.
//! - `bench`, with the cargo feature `bench`: times training steps and forward passes.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;

mod data;
pub mod recipe;

pub mod statistics;

mod evaluate;
mod run;
mod train;

mod exchange;
mod report;

#[cfg(feature = "bench")]
mod bench;
#[cfg(feature = "verify")]
pub mod verify;

// What programs use. Each module lists its own public items.
#[cfg(feature = "bench")]
pub use bench::*;
pub use data::*;
pub use error::TrainError;
pub use evaluate::*;
pub use exchange::*;
pub use recipe::{OptimizerRecipe, Schedule, read_toml};
pub use report::*;
pub use run::*;
pub use train::*;

/// Runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
