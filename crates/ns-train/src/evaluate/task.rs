//! What a model, and a circuit in it, does on the model's own task.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_circuit::CircuitModel;
use ns_models::{AnyModel, Model};
use serde::{Deserialize, Serialize};

use super::{AblationReport, AblationStudy, accuracy};
use crate::data::{TaskBatch, TaskData};
use crate::error::TrainError;
use crate::exchange::load_circuit;
use crate::recipe::{TaskRecipe, load_recipe};

/// Rows that evaluation runs at once.
const EVALUATION_BATCH: usize = 128;

/// One row of `results.json`: a circuit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CircuitRow {
    /// Factor of the L0 term.
    pub l0_lambda: f64,
    /// Seed of the run.
    pub seed: u64,
    /// Weights in the circuit.
    pub l0: f64,
    /// Weights that could be.
    pub l0_max: f64,
    /// Accuracy of the answer that is most frequent in training.
    pub majority: f64,
    /// The ablations; the first row is of all masked layers.
    pub ablation: AblationReport,
}

/// The results of a run on the test examples.
pub(crate) struct TaskEvaluation {
    pub(crate) test_accuracy: f64,
    /// `None` where no circuit was trained.
    pub(crate) circuit: Option<CircuitRow>,
}

/// Accuracy on the test examples and, for a circuit, the ablations. `circuit` is in evaluation mode.
///
/// # Errors
/// Those of the model and of the ablation study.
pub(crate) fn evaluate_task(
    recipe: &TaskRecipe,
    data: &TaskData,
    circuit: &CircuitModel<AnyModel>,
    seed: u64,
) -> Result<TaskEvaluation, TrainError> {
    let rows = &data.split().test;
    let (scores, labels) = scores_of(data, rows, circuit.model()?)?;
    let test_accuracy = accuracy(scores, labels.clone());
    let circuit = match &recipe.circuit_config {
        Some(config) if !config.target_layers.is_empty() => {
            let study = AblationStudy { controls: recipe.controls, ..AblationStudy::default() };
            let ablation = study.run(circuit, &labels, &|model| Ok(scores_of(data, rows, model)?.0))?;
            let (l0_lambda, l0, majority) = (config.l0_lambda, circuit.l0(), data.majority());
            Some(CircuitRow { l0_lambda, seed, l0: l0.total, l0_max: l0.max, majority, ablation })
        }
        _ => None,
    };
    Ok(TaskEvaluation { test_accuracy, circuit })
}

/// Scores of some rows by a model without autodiff, on the host: `[rows][classes]`, with the right answers.
///
/// # Errors
/// The model's.
pub(crate) fn scores_of(
    data: &TaskData,
    rows: &[usize],
    model: &AnyModel,
) -> Result<(Tensor<2>, Tensor<1, Int>), TrainError> {
    let device = model.device();
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for rows in rows.chunks(EVALUATION_BATCH) {
        let batch: TaskBatch = data.batch(rows, &device)?;
        scores.push(batch.scores(model)?);
        labels.extend_from_slice(batch.labels());
    }
    let n = labels.len();
    Ok((Tensor::cat(scores, 0), Tensor::from_data(TensorData::new(labels, [n]), &device)))
}

/// Ablates a trained circuit of a run on the examples of the run's recipe.
///
/// # Errors
/// [`TrainError::Recipe`] for a folder that is no run on a task, and those of the circuit and the data.
pub fn ablate_run(folder: &Path, study: &AblationStudy, device: &Device) -> Result<AblationReport, TrainError> {
    let path = folder.join("recipe.toml");
    let recipe: SeededRecipe = load_recipe(&path)?;
    let circuit = load_circuit(folder, None, device)?;
    circuit.set_seed(recipe.seed);
    let data = recipe.recipe.read_data()?;
    let rows = &data.split().test;
    let (_, labels) = scores_of(&data, rows, &circuit.unmasked())?;
    study.run(&circuit, &labels, &|model| Ok(scores_of(&data, rows, model)?.0))
}

/// `recipe.toml` of a run.
#[derive(Deserialize)]
struct SeededRecipe {
    #[serde(default)]
    seed: u64,
    #[serde(flatten)]
    recipe: TaskRecipe,
}
