//! What a trained circuit is worth: does it hold the variable, and does the model need it?

use std::cell::RefCell;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Tensor;
use ns_circuit::{CircuitModel, MaskMethod, save_masks};
use ns_models::{AnyTransformer, Ignore, Model};
use ns_probe::{ActivationCache, ProbeBatch, ProbePlan, evaluate_knn};
use serde::{Deserialize, Serialize};

use crate::{
    AblationStudy, Arithmetic, BaseModelPool, Examples, Interrupt, Learner, Metrics, Outcome, ProbeRecipe,
    ProbeTraining, Run, TrainError, Variable, figures::LayerShare, model_training::last_logits_after,
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
    /// Share of all these masks, the circuit's with them, without which the model is no better than without the circuit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_random: Option<f64>,
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
/// As [`ProbeTraining::on`] and [`Learner::train`], and those of the evaluation.
pub fn train_probe(
    recipe: &ProbeRecipe,
    seed: u64,
    folder: &Path,
    bases: &BaseModelPool,
    interrupt: &Interrupt,
) -> Result<Option<ProbeReport>, TrainError> {
    let mut training = ProbeTraining::on(bases, recipe, seed)?;
    let run = Run::open(folder, recipe, seed)?;
    let learner = Learner {
        label: format!("{} in {}, seed {seed}", recipe.variable, recipe.probe_vectors),
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
    let circuit = training.probe().circuit();
    config.circuit_config = circuit.config().clone();
    config.resid_config = config.resid_config.named_for(circuit.wrapped());
    run.write("probe_config.json", &format!("{:#}\n", serde_json::json!(config)))?;
    report(training, metrics).map(Some)
}

fn report(mut training: ProbeTraining, metrics: Vec<Metrics>) -> Result<ProbeReport, TrainError> {
    let (recipe, split, seed) = (training.recipe().clone(), training.split().clone(), training.seed());
    let train_labels = recipe.task.labels(recipe.variable, &split.train);
    let test_labels = recipe.task.labels(recipe.variable, &split.test);
    let mut knn = |masked| {
        let train = training.evaluation_vectors(&split.train, masked)?;
        let test = training.evaluation_vectors(&split.test, masked)?;
        let per_class = recipe.evaluation.memory_per_class;
        Ok::<_, TrainError>(evaluate_knn((train, &train_labels), (test, &test_labels), per_class, seed)?)
    };
    let (masked, unmasked) = (knn(true)?, knn(false)?);

    let circuit = training.probe().circuit().valid();
    let answers = recipe.task.answer_tensor(&split.test, &circuit.wrapped().device());
    let study = AblationStudy { controls: recipe.evaluation.controls, ..AblationStudy::default() };
    training.activation_cache_mut().release();
    let layers: Vec<String> = circuit.layers().into_iter().map(|layer| layer.name).collect();
    let test_logits = TestLogits {
        task: recipe.task,
        examples: &split.test,
        plan: ProbePlan::all_blocks(circuit.wrapped(), &layers),
        activations: RefCell::new(training.activation_cache_mut().another()),
    };
    let ablation = study.run(&circuit, &answers, &|model| test_logits.logits(model))?;
    let all = ablation.rows.first();
    let (random, complement) = (all.and_then(|row| row.randomly_sampled), all.and_then(|row| row.complement_sampled));

    let l0 = circuit.l0();
    let row = ProbeRow {
        variable: recipe.variable,
        block: recipe.block(),
        seed,
        knn_test: masked.test_accuracy,
        knn_dev: masked.dev_accuracy,
        knn_unmasked: unmasked.test_accuracy,
        majority: masked.majority,
        acc_full: ablation.full.accuracy,
        acc_ablated: all.map_or(ablation.full.accuracy, |row| row.zero_ablate.accuracy),
        acc_random_mean: random.map(|controls| controls.accuracy_mean),
        acc_random_sd: random.map(|controls| controls.accuracy_sd),
        p_random: random.map(|controls| controls.p_value),
        acc_complement_mean: complement.map(|controls| controls.accuracy_mean),
        acc_complement_sd: complement.map(|controls| controls.accuracy_sd),
        l0: l0.total,
        l0_max: l0.max,
        mask_init_value: mask_init_value(&recipe),
        mask_quantiles: mask_quantiles(&circuit),
    };
    let share =
        |layer: &ns_circuit::LayerL0| LayerShare { name: layer.name.clone(), in_circuit: layer.l0, total: layer.max };
    Ok(ProbeReport { row, metrics, shares: l0.layers.iter().map(share).collect() })
}

/// Logits of the answers, of one ablated model after the other; what no mask changes is computed once.
struct TestLogits<'a> {
    task: Arithmetic,
    examples: &'a Examples,
    plan: ProbePlan,
    activations: RefCell<ActivationCache>,
}

impl TestLogits<'_> {
    /// # Shapes
    /// - output: `[examples, vocabulary]`
    fn logits(&self, model: &AnyTransformer) -> Result<Tensor<2>, TrainError> {
        let logits = self.examples.pairs.chunks(EVALUATION_BATCH).map(|pairs| {
            let examples = Examples { pairs: pairs.into() };
            let (inputs, places) = (self.task.inputs(&examples, &model.device()), self.task.places(&examples));
            let token_mask = vec![true; examples.len() * self.task.context()];
            let batch = ProbeBatch { inputs, token_mask, labels: Vec::new() };
            let frozen = self.activations.borrow_mut().frozen_activations(&self.plan, model, &places, &batch)?;
            last_logits_after(model, &batch.inputs, |context| {
                Ok(self.plan.walk_on(model, &frozen, &batch.inputs, context, &mut Ignore)?)
            })
        });
        Ok(Tensor::cat(logits.collect::<Result<_, _>>()?, 0))
    }
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
