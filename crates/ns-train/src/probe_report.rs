//! What a trained circuit is worth: does it hold the variable, and does the model need it?

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use ns_circuit::{Ablation, CircuitError, CircuitModel, MaskMethod, save_masks};
use ns_models::{AnyTransformer, Model};
use ns_probe::evaluate_knn;
use serde::{Deserialize, Serialize};

use crate::{
    Arithmetic, Examples, Interrupt, Learner, Metrics, Outcome, ProbeRecipe, ProbeTraining, Run, TrainError, Variable,
    figures::LayerShare,
    model_training::{accuracy, last_logits},
    probe_training::EVALUATION_BATCH,
};

/// Quantiles of the mask parameters that are reported.
const QUANTILES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// One row of `results.json`: a probe and a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRow {
    /// What was looked for.
    pub variable: Variable,
    /// Where: `attn` or `mlp`.
    pub block: String,
    /// Seed of the probe.
    pub seed: u64,
    /// 1-NN accuracy of the circuit's vectors on the test split.
    pub knn_test: f64,
    /// The same on the training examples that are no memory.
    pub knn_dev: f64,
    /// 1-NN accuracy of the whole model's vectors on the test split.
    pub knn_unmasked: f64,
    /// Share of the most frequent class in the training split.
    pub majority: f64,
    /// The model's accuracy on the test split.
    pub acc_full: f64,
    /// The same with the circuit cut out.
    pub acc_ablated: f64,
    /// The same with as many random entries cut out: mean over the controls.
    pub acc_random_mean: Option<f64>,
    /// Their standard deviation.
    pub acc_random_sd: Option<f64>,
    /// The same with random entries from outside the circuit: mean; `null` when the circuit is larger than its
    /// complement.
    pub acc_complement_mean: Option<f64>,
    /// Their standard deviation.
    pub acc_complement_sd: Option<f64>,
    /// Weights in the circuit.
    pub l0: f64,
    /// Weights that could be.
    pub l0_max: f64,
    /// Mask parameters before training.
    pub mask_init_value: Option<f64>,
    /// Least, lower quartile, median, upper quartile and largest of the mask parameters after training.
    pub mask_quantiles: Vec<f64>,
}

impl ProbeRow {
    /// Whether another row is of the same probe and seed.
    pub fn is_same_probe(&self, other: &Self) -> bool {
        let key = |row: &Self| (row.variable, row.block.clone(), row.seed, row.mask_init_value.map(f64::to_bits));
        key(self) == key(other)
    }
}

/// A trained and judged probe.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// The numbers.
    pub row: ProbeRow,
    /// One entry an epoch.
    pub metrics: Vec<Metrics>,
    /// The circuit tensor by tensor.
    pub shares: Vec<LayerShare>,
}

/// Trains a probe in a run folder, resuming if the folder has a checkpoint, and judges it. A finished run leaves
/// `masks.safetensors` and `probe_config.json` in the folder; an interrupted one gives no report. A recipe that
/// cannot work leaves nothing.
///
/// # Errors
/// As [`ProbeTraining::new`] and [`Learner::train`], and those of the evaluation.
pub fn train_probe(
    recipe: &ProbeRecipe,
    seed: u64,
    folder: &Path,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<Option<ProbeReport>, TrainError> {
    let mut training = ProbeTraining::new(recipe, seed, device)?;
    let run = Run::open(folder, recipe, seed)?;
    let learner = Learner {
        label: format!("{} in {}", recipe.variable, recipe.probe_vectors),
        epochs: recipe.epochs,
        checkpoint_every: recipe.checkpoint_every,
        interrupt: interrupt.clone(),
    };
    let (outcome, metrics) = learner.train(&mut training, &run)?;
    if outcome != Outcome::Finished {
        return Ok(None);
    }
    save_masks(run.path("masks.safetensors"), training.probe().circuit())?;
    let mut config = recipe.probe_config()?;
    config.resid_config = config.resid_config.named_for(training.probe().circuit().wrapped());
    run.write("probe_config.json", &format!("{:#}\n", serde_json::json!(config)))?;
    report(&training, metrics).map(Some)
}

fn report(training: &ProbeTraining, metrics: Vec<Metrics>) -> Result<ProbeReport, TrainError> {
    let (recipe, split, seed) = (training.recipe(), training.split(), training.seed());
    let train_labels = recipe.task.labels(recipe.variable, &split.train);
    let test_labels = recipe.task.labels(recipe.variable, &split.test);
    let knn = |masked| {
        let train = training.evaluation_vectors(&split.train, masked)?;
        let test = training.evaluation_vectors(&split.test, masked)?;
        let per_class = recipe.evaluation.memory_per_class;
        Ok::<_, TrainError>(evaluate_knn((train, &train_labels), (test, &test_labels), per_class, seed)?)
    };
    let (masked, unmasked) = (knn(true)?, knn(false)?);

    let circuit = training.probe().circuit().valid();
    let model_accuracy = |model: &AnyTransformer| model_accuracy(model, recipe.task, &split.test);
    let acc_full = model_accuracy(&circuit.unmasked())?;
    circuit.set_ablation(Ablation::ZeroAblate)?;
    let acc_ablated = model_accuracy(circuit.model()?)?;
    let controls = |ablation| controls(&circuit, ablation, recipe.evaluation.controls, &model_accuracy);
    let random = controls(Ablation::RandomlySampled)?;
    let complement = controls(Ablation::ComplementSampled)?;
    circuit.set_ablation(Ablation::None)?;

    let l0 = circuit.l0();
    let row = ProbeRow {
        variable: recipe.variable,
        block: recipe.block(),
        seed,
        knn_test: masked.test_accuracy,
        knn_dev: masked.dev_accuracy,
        knn_unmasked: unmasked.test_accuracy,
        majority: masked.majority,
        acc_full,
        acc_ablated,
        acc_random_mean: random.map(|(mean, _)| mean),
        acc_random_sd: random.map(|(_, sd)| sd),
        acc_complement_mean: complement.map(|(mean, _)| mean),
        acc_complement_sd: complement.map(|(_, sd)| sd),
        l0: l0.total,
        l0_max: l0.max,
        mask_init_value: mask_init_value(recipe),
        mask_quantiles: mask_quantiles(&circuit),
    };
    let share =
        |layer: &ns_circuit::LayerL0| LayerShare { name: layer.name.clone(), in_circuit: layer.l0, total: layer.max };
    Ok(ProbeReport { row, metrics, shares: l0.layers.iter().map(share).collect() })
}

/// Share of the examples whose answer the model gives.
fn model_accuracy(model: &AnyTransformer, task: Arithmetic, examples: &Examples) -> Result<f64, TrainError> {
    let device = model.device();
    let mut right = 0.0;
    for pairs in examples.pairs.chunks(EVALUATION_BATCH) {
        let examples = Examples { pairs: pairs.into() };
        let logits = last_logits(model, &task.inputs(&examples, &device))?;
        right += accuracy(logits, task.answer_tensor(&examples, &device)) * examples.len() as f64;
    }
    Ok(right / examples.len().max(1) as f64)
}

/// Mean and standard deviation of the accuracy over random masks of the circuit's size; `None` without controls, or
/// when the circuit is larger than what the masks are drawn from.
fn controls(
    circuit: &CircuitModel<AnyTransformer>,
    ablation: Ablation,
    n: usize,
    accuracy: &dyn Fn(&AnyTransformer) -> Result<f64, TrainError>,
) -> Result<Option<(f64, f64)>, TrainError> {
    match circuit.set_ablation(ablation) {
        Err(CircuitError::ComplementTooSmall { .. }) => return Ok(None),
        other => other?,
    }
    let mut accuracies = Vec::with_capacity(n);
    for sample in 0..n {
        circuit.set_sample(sample as u64)?;
        accuracies.push(accuracy(circuit.model()?)?);
    }
    Ok(mean_and_sd(&accuracies))
}

/// Sample standard deviation; 0 for a single value.
pub(crate) fn mean_and_sd(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (squares / (n - 1.0).max(1.0)).sqrt()))
}

/// The value as the recipe writes it: 0.1, not the nearest f32.
fn mask_init_value(recipe: &ProbeRecipe) -> Option<f64> {
    match recipe.circuit_config.mask_method {
        MaskMethod::ContinuousSparsification { mask_init_value } => mask_init_value.to_string().parse().ok(),
        _ => None,
    }
}

fn mask_quantiles(circuit: &CircuitModel<AnyTransformer>) -> Vec<f64> {
    let params = circuit.mask_params();
    let mut values: Vec<f64> = params.values().flat_map(|data| data.iter::<f64>().collect::<Vec<_>>()).collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return Vec::new() };
    QUANTILES.iter().map(|quantile| values[(quantile * last as f64).round() as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_sample_deviation() {
        assert_eq!(mean_and_sd(&[]), None);
        assert_eq!(mean_and_sd(&[0.5]), Some((0.5, 0.0)));
        let (mean, sd) = mean_and_sd(&[1.0, 2.0, 3.0]).unwrap();
        assert!((mean - 2.0).abs() < 1e-12 && (sd - 1.0).abs() < 1e-12);
    }
}
