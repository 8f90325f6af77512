//! The hypothesis tests of the circuit of a finished run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use serde::Serialize;

use super::judged_run::JudgedRun;
use crate::error::TrainError;
use crate::evaluate::{CircuitTestSettings, CircuitTests};
use crate::run::DelayedProgress;

/// The hypothesis tests of the circuit of a finished run.
#[derive(Clone, Debug, Serialize)]
pub struct CircuitTestReport {
    /// Folder of the run.
    pub run: PathBuf,
    /// The settings.
    #[serde(flatten)]
    pub settings: CircuitTestSettings,
    /// Number of examples on which the circuit is tested.
    pub examples: usize,
    /// Number of examples of the set.
    pub examples_of_set: usize,
    /// Duration in seconds.
    pub seconds: f64,
    /// What the tests find.
    #[serde(flatten)]
    pub tests: CircuitTests,
}

/// Tests the circuit in the folder of a finished run on the first examples of a set of its recipe, with the answers of the
/// model's own head.
///
/// # Errors
/// Returns [`TrainError::Io`] or [`TrainError::Recipe`] if `folder` is not the folder of a run, [`TrainError::Setting`] for
/// settings out of range, a set without examples, a circuit without mask parameters and an ablation that its masks do not
/// allow, and the errors of reading the circuit and the data and of the forward passes.
pub fn test_circuit_of_run(
    folder: impl AsRef<Path>,
    settings: &CircuitTestSettings,
    device: &Device,
) -> Result<CircuitTestReport, TrainError> {
    settings.check()?;
    let (start, folder) = (Instant::now(), folder.as_ref());
    let run = JudgedRun::open(folder, &[settings.ablation], device)?;
    let all = run.rows(settings.set)?;
    let rows = &all[..all.len().min(settings.most_examples)];
    let mut bar = DelayedProgress::new("forward passes");
    let examples = (&run.answers, rows, run.recipe.seed);
    let tests = settings.run(&run.circuit, examples, |done, total| bar.update(done, total))?;
    bar.finish();
    Ok(CircuitTestReport {
        run: folder.into(),
        settings: *settings,
        examples: rows.len(),
        examples_of_set: all.len(),
        seconds: start.elapsed().as_secs_f64(),
        tests,
    })
}
