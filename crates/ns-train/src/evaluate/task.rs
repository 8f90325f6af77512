//! Evaluation of a model, or a circuit in it, on the model's own task.

use std::path::Path;

use burn::tensor::Device;
use ns_circuit::CircuitModel;
use ns_models::{AnyModel, Model};
use serde::{Deserialize, Serialize};

use super::{AblationReport, AblationStudy, accuracy, scores_of};
use crate::data::{Dataset, label_tensor};
use crate::error::TrainError;
use crate::exchange::load_circuit;
use crate::recipe::{TaskRecipe, load_recipe};

/// Results of one circuit: a row of `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CircuitRow {
    /// Factor λ of the L0 term in the loss.
    pub l0_lambda: f64,
    /// Seed of the run.
    pub seed: u64,
    /// Number of weights in the circuit.
    pub l0: f64,
    /// Number of masked weights.
    pub l0_max: f64,
    /// Accuracy on the test examples of always predicting the most frequent answer of the training examples.
    pub majority: f64,
    /// Results of the ablation study. Its first row covers all masked layers.
    pub ablation: AblationReport,
}

/// Runs the ablation study on the circuit of a recipe, which must be in evaluation mode; `None` if the recipe masks no
/// layer.
///
/// # Errors
/// Returns errors of the forward passes and of [`AblationStudy::run`].
pub(crate) fn circuit_row(
    recipe: &TaskRecipe,
    data: &dyn Dataset,
    circuit: &CircuitModel<AnyModel>,
    seed: u64,
) -> Result<Option<CircuitRow>, TrainError> {
    let config = recipe.circuit_config.as_ref().filter(|config| !config.target_layers.is_empty());
    let Some(config) = config else { return Ok(None) };
    let study = AblationStudy { controls: recipe.controls, ..AblationStudy::default() };
    let ablation = run_study(&study, data, circuit)?;
    let (l0_lambda, l0, majority) = (config.l0_lambda, circuit.l0(), data.rows().majority());
    let (l0, l0_max) = (l0.weights as f64, l0.max_weights as f64);
    Ok(Some(CircuitRow { l0_lambda, seed, l0, l0_max, majority, ablation }))
}

/// Runs an ablation study on the circuit of a finished [`train_task`](crate::train_task) run, with the test examples of
/// the run's recipe.
///
/// # Errors
/// Returns [`TrainError::Recipe`] if `folder` is not the folder of such a run, and errors of [`load_circuit`], of
/// reading the data and of [`AblationStudy::run`].
pub fn ablate_run(
    folder: impl AsRef<Path>,
    study: &AblationStudy,
    device: &Device,
) -> Result<AblationReport, TrainError> {
    let folder = folder.as_ref();
    let path = folder.join("recipe.toml");
    let recipe: SeededRecipe = load_recipe(&path)?;
    let mut circuit = load_circuit(folder, None, device)?;
    circuit.set_seed(recipe.seed);
    run_study(study, &*recipe.recipe.read_data()?, &circuit)
}

/// Runs an ablation study on the test examples.
fn run_study(
    study: &AblationStudy,
    data: &dyn Dataset,
    circuit: &CircuitModel<AnyModel>,
) -> Result<AblationReport, TrainError> {
    let rows = &data.split().test;
    let labels = label_tensor(data.labels(rows), &circuit.base().device());
    study.run(circuit, &labels, &|model| scores_of(data, rows, model))
}

/// Accuracy of a model without autodiff on the test examples.
///
/// # Errors
/// Returns errors of the data set and of the forward passes.
pub(crate) fn test_accuracy(data: &dyn Dataset, model: &AnyModel) -> Result<f64, TrainError> {
    let rows = &data.split().test;
    Ok(accuracy(scores_of(data, rows, model)?, label_tensor(data.labels(rows), &model.device())))
}

/// `recipe.toml` in a run folder: the recipe with its seed.
#[derive(Deserialize)]
struct SeededRecipe {
    #[serde(default)]
    seed: u64,
    #[serde(flatten)]
    recipe: TaskRecipe,
}
