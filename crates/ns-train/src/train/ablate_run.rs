//! The ablation study of a finished run.

use std::path::Path;

use burn::tensor::Device;
use ns_models::read_config;

use super::base_model_pool::BaseModelPool;
use super::behaviour;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::evaluate::{AblationReport, AblationStudy};
use crate::exchange::CircuitFiles;
use crate::recipe::Recipe;
use crate::recipe::read_toml;

/// Runs an ablation study on the circuit of a finished run, with the test examples of the run's recipe and the answers of
/// the model's own head.
///
/// # Errors
/// Returns [`TrainError::Io`] or [`TrainError::Recipe`] if `folder` is not the folder of a run, [`TrainError::Setting`] if
/// the head does not predict the labels, and errors of [`CircuitFiles::load`], of reading the data and of
/// [`AblationStudy::run`].
pub fn ablate_run(
    folder: impl AsRef<Path>,
    study: &AblationStudy,
    device: &Device,
) -> Result<AblationReport, TrainError> {
    let folder = folder.as_ref();
    let files = CircuitFiles::find(folder, None, None)?;
    let mut recipe: Recipe = read_toml(folder.join("recipe.toml"))?;
    // The partners of the examples are read if an ablation needs them.
    recipe.evaluation.ablations.clone_from(&study.replaced);
    let mut circuit = files.load(device)?;
    circuit.set_seed(recipe.seed);
    let pool = BaseModelPool::new(device, 0);
    let answers = behaviour::answers(&pool, &recipe, circuit.base(), &read_config(&files.model)?)?;
    behaviour::run_study(&circuit, (&answers, &answers.examples.split().test, recipe.seed), study)
}
