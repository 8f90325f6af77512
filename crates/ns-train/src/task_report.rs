//! A model or a circuit trained on the model's own task, and what it is worth.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use ns_circuit::save_masks;
use ns_models::{AnyModel, Pretrained, copy_companions};
use serde::{Deserialize, Serialize};

use crate::{
    AblationReport, AblationStudy, Interrupt, Learner, Metrics, Outcome, Run, TaskRecipe, TaskTraining, TrainError,
    figures::{LayerShare, Panel, Series, curves},
    task_training::scores_of,
};

/// Subfolder of a run that holds the model, where training made it another one than the recipe names.
pub(crate) const MODEL: &str = "model";

/// What a run on a task gave.
#[derive(Clone, Debug)]
pub struct TaskReport {
    /// One entry an epoch.
    pub metrics: Vec<Metrics>,
    /// Accuracy on the test examples.
    pub test_accuracy: f64,
    /// Accuracy of the answer that is most frequent in training.
    pub majority: f64,
    /// The circuit, where one was trained.
    pub circuit: Option<CircuitRow>,
    /// The circuit tensor by tensor.
    pub shares: Vec<LayerShare>,
}

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

/// Trains by a recipe in a run folder, resuming if the folder has a checkpoint, and judges what came of it. A finished
/// run leaves `masks.safetensors` and `circuit_config.json` where there are masks, and the model in `model/` where it
/// is another one than the recipe names; an interrupted one gives no report. A recipe that cannot work leaves nothing.
///
/// # Errors
/// As [`TaskTraining::new`] and [`Learner::train`], and those of the evaluation.
pub fn train_task(
    recipe: &TaskRecipe,
    seed: u64,
    folder: &Path,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<Option<TaskReport>, TrainError> {
    let mut training = TaskTraining::new(recipe, seed, device)?;
    let run = Run::open(folder, recipe, seed)?;
    let label = match &recipe.circuit_config {
        Some(config) => format!("circuit, λ {:e}", config.l0_lambda),
        None => "train".into(),
    };
    let (epochs, checkpoint_every) = (recipe.epochs, recipe.checkpoint_every);
    let learner = Learner { label, epochs, checkpoint_every, interrupt: interrupt.clone() };
    let (outcome, metrics) = learner.train(&mut training, &run)?;
    if outcome != Outcome::Finished {
        return Ok(None);
    }
    save(&training, &run)?;
    report(&training, seed, metrics).map(Some)
}

fn save(training: &TaskTraining, run: &Run) -> Result<(), TrainError> {
    let (recipe, circuit) = (training.recipe(), training.circuit().valid());
    let frozen = circuit.config().freeze_base;
    if !frozen || recipe.architecture.is_some() || recipe.model_folder().is_none() {
        save_model(&circuit.unmasked(), recipe.model_folder(), &run.path(MODEL))?;
    }
    if recipe.circuit_config.is_some() {
        save_masks(run.path("masks.safetensors"), &circuit)?;
        run.write("circuit_config.json", &format!("{:#}\n", serde_json::json!(circuit.config())))?;
    }
    Ok(())
}

fn save_model(model: &AnyModel, from: Option<&Path>, to: &Path) -> Result<(), TrainError> {
    match model {
        AnyModel::Transformer(model) => model.save(to)?,
        AnyModel::ResNet(model) => model.save(to)?,
    }
    if let Some(from) = from {
        copy_companions(from, to)?;
    }
    Ok(())
}

fn report(training: &TaskTraining, seed: u64, metrics: Vec<Metrics>) -> Result<TaskReport, TrainError> {
    let (data, recipe, circuit) = (training.data(), training.recipe(), training.circuit().valid());
    let rows = &data.split().test;
    let majority = data.majority();
    let (scores, labels) = scores_of(data, rows, circuit.model()?)?;
    let test_accuracy = crate::model_training::accuracy(scores, labels.clone());
    let l0 = circuit.l0();
    let row = match &recipe.circuit_config {
        Some(config) if !config.target_layers.is_empty() => {
            let study = AblationStudy { controls: recipe.controls, ..AblationStudy::default() };
            let ablation = study.run(&circuit, &labels, &|model| Ok(scores_of(data, rows, model)?.0))?;
            let (l0_lambda, l0, l0_max) = (config.l0_lambda, l0.total, l0.max);
            Some(CircuitRow { l0_lambda, seed, l0, l0_max, majority, ablation })
        }
        _ => None,
    };
    let share =
        |layer: &ns_circuit::LayerL0| LayerShare { name: layer.name.clone(), in_circuit: layer.l0, total: layer.max };
    Ok(TaskReport { metrics, test_accuracy, majority, circuit: row, shares: l0.layers.iter().map(share).collect() })
}

/// Draws accuracy against the share of weights that are kept.
///
/// # Errors
/// [`TrainError::Figure`].
pub fn draw_circuit_sizes(folder: &Path, title: &str, rows: &[CircuitRow]) -> Result<(), TrainError> {
    let series = |name: &str, accuracy: fn(&CircuitRow) -> Option<f64>| {
        let points = rows.iter().filter_map(|row| Some((100.0 * row.l0 / row.l0_max, accuracy(row)?)));
        let mut points: Vec<(f64, f64)> = points.collect();
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        Series { name: name.into(), points }
    };
    let all = [
        series("circuit alone", |row| Some(row.ablation.rows.first()?.circuit_only.accuracy)),
        series("circuit ablated", |row| Some(row.ablation.rows.first()?.zero_ablate.accuracy)),
        series("random masks ablated", |row| Some(row.ablation.rows.first()?.randomly_sampled?.accuracy_mean)),
    ];
    let panel = Panel {
        y_label: "accuracy".into(),
        x_label: Some("weights kept, %".into()),
        series: all.into_iter().filter(|series| !series.points.is_empty()).collect(),
        reference: rows.first().map(|row| ("full model".into(), row.ablation.full.accuracy)),
        log: false,
    };
    Ok(curves(folder, "accuracy-size", title, &[panel])?)
}

/// Ablates a trained circuit of a run on the examples of the run's recipe.
///
/// # Errors
/// [`TrainError::Recipe`] for a folder that is no run on a task, and those of the circuit and the data.
pub fn ablate_run(folder: &Path, study: &AblationStudy, device: &Device) -> Result<AblationReport, TrainError> {
    let path = folder.join("recipe.toml");
    let recipe: SeededRecipe = crate::load_recipe(&path)?;
    let circuit = crate::load_circuit(folder, None, device)?;
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
