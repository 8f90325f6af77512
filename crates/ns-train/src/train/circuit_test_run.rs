//! The hypothesis tests of the circuit of a finished run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use ns_models::read_config;
use serde::Serialize;

use super::base_model_pool::BaseModelPool;
use super::behaviour;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::evaluate::{Answers, CircuitTestSettings, CircuitTests};
use crate::exchange::CircuitFiles;
use crate::recipe::{Recipe, read_toml};
use crate::run::Progress;

/// Time without a progress bar.
const QUIET: Duration = Duration::from_secs(2);

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
    let files = CircuitFiles::find(folder, None, None)?;
    let mut recipe: Recipe = read_toml(folder.join("recipe.toml"))?;
    // The partners of the examples are read if an ablation needs them.
    recipe.evaluation.ablations = vec![settings.ablation];
    let circuit = files.load(device)?;
    let pool = BaseModelPool::new(device, 0);
    let answers = behaviour::answers(&pool, &recipe, circuit.base(), &read_config(&files.model)?)?;
    let all = rows(&answers, settings)?;
    let rows = &all[..all.len().min(settings.most_examples)];
    let mut bar = None;
    let tests = settings.run(&circuit, (&answers, rows, recipe.seed), |done, total| {
        if start.elapsed() > QUIET {
            bar.get_or_insert_with(|| (Progress::new("forward passes", done, total), total)).0.update(done, "");
        }
    })?;
    if let Some((bar, total)) = bar {
        bar.finish(total, "");
    }
    Ok(CircuitTestReport {
        run: folder.into(),
        settings: *settings,
        examples: rows.len(),
        examples_of_set: all.len(),
        seconds: start.elapsed().as_secs_f64(),
        tests,
    })
}

/// The rows of the set.
fn rows<'a>(answers: &'a Answers, settings: &CircuitTestSettings) -> Result<&'a [usize], TrainError> {
    let (set, sets) = (settings.set.name(), answers.examples.split().sets());
    let rows = sets.into_iter().find(|(name, _)| *name == set).map_or(&[][..], |(_, rows)| rows);
    let expected = "the recipe of the run leaves no example in it; name another set";
    TrainError::check(!rows.is_empty(), "the set", format!("`{set}`"), expected)?;
    Ok(rows)
}
