//! Evaluation of a trained circuit probe: 1-nearest-neighbour accuracy of the probed vectors, which shows whether the
//! circuit represents the variable, and ablations, which show whether the model needs the circuit.

use std::cell::RefCell;

use burn::tensor::Tensor;
use ns_circuit::{CircuitConfig, CircuitModel, MaskMethod};
use ns_models::{AnyTransformer, Ignore, Model, Transformer};
use ns_probe::{ActivationCache, CircuitProbe, KnnConfig, KnnReport, Probe, ProbePlan, evaluate_knn};
use serde::{Deserialize, Serialize};

use super::scores::last_logits_after;
use super::{AblationReport, AblationStudy, Controls};
use crate::data::{Dataset, Variable, label_tensor};
use crate::error::TrainError;
use crate::recipe::ProbeRecipe;

/// Examples per forward pass.
const EVALUATION_BATCH: usize = 1024;
/// The reported quantiles of the mask parameters.
const QUANTILES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// Results of one circuit probe: a row of `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRow {
    /// The probed variable.
    pub variable: Variable,
    /// The probed sublayer, `attn` or `mlp`.
    pub block: String,
    /// Seed of the probe.
    pub seed: u64,
    /// 1-NN accuracy of the circuit's vectors on the test split.
    pub knn_test: f64,
    /// 1-NN accuracy of the circuit's vectors on the training examples outside the support set; `None` if it holds all.
    pub knn_dev: Option<f64>,
    /// 1-NN accuracy of the unmasked model's vectors on the test split.
    pub knn_unmasked: f64,
    /// Fraction of the most frequent class in the training split.
    pub majority: f64,
    /// Accuracy of the full model on the test split.
    pub acc_full: f64,
    /// Accuracy of the model with the circuit set to zero.
    pub acc_ablated: f64,
    /// Mean accuracy over the controls with as many randomly sampled weights (or neurons) set to zero; `None` without
    /// controls.
    pub acc_random_mean: Option<f64>,
    /// Sample standard deviation over these controls.
    pub acc_random_sd: Option<f64>,
    /// p-value of the circuit's ablation among these controls, see [`Controls::p_value`](crate::Controls::p_value).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_random: Option<f64>,
    /// Mean accuracy over the controls that are sampled outside the circuit; `None` without controls, and if the
    /// circuit is larger than its complement.
    pub acc_complement_mean: Option<f64>,
    /// Sample standard deviation over these controls.
    pub acc_complement_sd: Option<f64>,
    /// Number of weights in the circuit.
    pub l0: f64,
    /// Number of masked weights.
    pub l0_max: f64,
    /// Initial value of the mask parameters; `None` for mask methods without one.
    pub mask_init_value: Option<f64>,
    /// Minimum, lower quartile, median, upper quartile and maximum of the mask parameters after training.
    pub mask_quantiles: Vec<f64>,
}

impl ProbeRow {
    /// Evaluates the probe of a recipe: the 1-NN accuracies of the circuit and of the full model, and the ablations with
    /// their controls.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if the probe or the 1-NN evaluation fails, and errors of the ablation study.
    pub(crate) fn measure(recipe: &ProbeRecipe, mut evaluation: ProbeEvaluation<'_>) -> Result<Self, TrainError> {
        let data = evaluation.data;
        let test = &data.split().test[..];
        let (masked, unmasked) = (evaluation.knn(&[test], true)?[0], evaluation.knn(&[test], false)?[0]);
        let ablation = evaluation.ablation(&recipe.task.read(None)?, recipe.evaluation.controls)?;
        let (accuracies, circuit) = (TaskAccuracies::new(&ablation), evaluation.probe.circuit());
        let l0 = circuit.l0();
        Ok(Self {
            variable: recipe.variable,
            block: recipe.block(),
            seed: evaluation.support.seed,
            knn_test: masked.test_accuracy,
            knn_dev: masked.dev_accuracy,
            knn_unmasked: unmasked.test_accuracy,
            majority: masked.majority,
            acc_full: accuracies.full,
            acc_ablated: accuracies.ablated,
            acc_random_mean: accuracies.random.map(|controls| controls.accuracy_mean),
            acc_random_sd: accuracies.random.map(|controls| controls.accuracy_sd),
            p_random: accuracies.random.map(|controls| controls.p_value),
            acc_complement_mean: accuracies.complement.map(|controls| controls.accuracy_mean),
            acc_complement_sd: accuracies.complement.map(|controls| controls.accuracy_sd),
            l0: l0.weights as f64,
            l0_max: l0.max_weights as f64,
            mask_init_value: mask_init_value(&recipe.circuit_config),
            mask_quantiles: mask_quantiles(circuit),
        })
    }

    /// Returns whether two rows have the same variable, block, seed and initial mask value.
    /// [`add_results`](crate::add_results) replaces a row of the same probe.
    pub fn is_same_probe(&self, other: &Self) -> bool {
        let key = |row: &Self| (row.variable, row.block.clone(), row.seed, row.mask_init_value.map(f64::to_bits));
        key(self) == key(other)
    }
}

/// A trained probe and the inputs of its evaluation.
pub(crate) struct ProbeEvaluation<'a> {
    /// The examples, labelled with the probed variable.
    pub(crate) data: &'a dyn Dataset,
    /// The probe, in evaluation mode.
    pub(crate) probe: CircuitProbe<AnyTransformer>,
    pub(crate) activations: &'a mut ActivationCache,
    pub(crate) support: SupportSets,
}

/// How the support sets of 1-NN are sampled.
#[derive(Clone, Copy)]
pub(crate) struct SupportSets {
    /// Training vectors of each class.
    pub(crate) per_class: usize,
    /// Number of sampled sets.
    pub(crate) draws: usize,
    pub(crate) seed: u64,
}

impl ProbeEvaluation<'_> {
    /// Ablates the circuit and predicts the answers of the test examples of a task of arithmetic, which are labelled
    /// with their answers. The frozen activations are cached, because no mask changes them.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if a forward pass fails, and errors of the ablation study.
    pub(crate) fn ablation(&mut self, task: &dyn Dataset, controls: usize) -> Result<AblationReport, TrainError> {
        let circuit = self.probe.circuit();
        let rows = &task.split().test;
        let labels = label_tensor(task.labels(rows), &circuit.base().device());
        let layers: Vec<String> = circuit.layers().into_iter().map(|layer| layer.name).collect();
        let plan = ProbePlan::all_blocks(circuit.base(), &layers);
        self.activations.release();
        let activations = RefCell::new(self.activations.another());
        let logits_of = |model: &AnyTransformer, rows: &[usize]| {
            let mut batch = task.batch(rows, &model.device())?;
            // The plan holds the activations of all tokens.
            batch.token_mask.fill(true);
            let frozen = activations.borrow_mut().frozen_activations(&plan, model, rows, &batch)?;
            last_logits_after(model, model.context(&batch.inputs)?, |context| {
                Ok(plan.walk_blocks(model, &frozen, &batch.inputs, context, &mut Ignore)?)
            })
        };
        let study = AblationStudy { controls, ..AblationStudy::default() };
        study.run(circuit, &labels, &|model| {
            let logits = rows.chunks(EVALUATION_BATCH).map(|rows| logits_of(model, rows));
            Ok(Tensor::cat(logits.collect::<Result<_, _>>()?, 0))
        })
    }

    /// 1-NN accuracies on each of some sets of rows, in their order: of the circuit's vectors, or of the full model's
    /// if not `masked`. All sets have the same support sets.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if a forward pass or the 1-NN evaluation fails.
    pub(crate) fn knn(&mut self, sets: &[&[usize]], masked: bool) -> Result<Vec<KnnReport>, TrainError> {
        let data = self.data;
        let rows = &data.split().train;
        let (train, labels) = (self.vectors(rows, masked)?, data.labels(rows));
        let SupportSets { per_class, draws, seed } = self.support;
        // Without a hash, a vector is known by its place in the split, which depends on the recipe alone.
        let keys = data.content_keys(rows).unwrap_or_else(|| (0..labels.len() as u64).collect());
        let config = KnnConfig { keys: Some(keys), draws, ..KnnConfig::per_class(per_class, seed) };
        let report = |rows: &&[usize]| {
            let vectors = (self.vectors(rows, masked)?, data.labels(rows));
            Ok(evaluate_knn((train.clone(), &labels), (vectors.0, &vectors.1), &config)?)
        };
        sets.iter().map(report).collect()
    }

    /// Vectors that are read from some examples at the probed site, from the circuit or, if not `masked`, from the full
    /// model.
    ///
    /// # Shapes
    /// - output: `[labels, hidden]`
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if a forward pass fails.
    pub(crate) fn vectors(&mut self, rows: &[usize], masked: bool) -> Result<Tensor<2>, TrainError> {
        let device = self.probe.circuit().base().device();
        let mut vectors = Vec::new();
        for rows in rows.chunks(EVALUATION_BATCH) {
            let batch = self.data.batch(rows, &device)?;
            let frozen = self.probe.cached_activations(self.activations, rows, &batch)?;
            vectors.push(match masked {
                true => self.probe.vectors_from(&frozen, &batch)?,
                false => self.probe.unmasked_vectors_from(&frozen, &batch)?,
            });
        }
        Ok(Tensor::cat(vectors, 0))
    }
}

/// Accuracies of the ablation study of a probe on a task of arithmetic.
pub(crate) struct TaskAccuracies {
    /// The full model.
    pub(crate) full: f64,
    /// The model with the circuit set to zero.
    pub(crate) ablated: f64,
    /// Random masks of the circuit's size.
    pub(crate) random: Option<Controls>,
    /// Random masks outside the circuit.
    pub(crate) complement: Option<Controls>,
}

impl TaskAccuracies {
    pub(crate) fn new(report: &AblationReport) -> Self {
        let all = report.rows.first();
        Self {
            full: report.full.accuracy,
            ablated: all.map_or(report.full.accuracy, |row| row.zero_ablate.accuracy),
            random: all.and_then(|row| row.randomly_sampled),
            complement: all.and_then(|row| row.complement_sampled),
        }
    }
}

/// Initial mask value as the recipe writes it: 0.1 and not the nearest `f32`, 0.10000000149011612.
pub(crate) fn mask_init_value(config: &CircuitConfig) -> Option<f64> {
    match config.mask_method {
        MaskMethod::ContinuousSparsification { mask_init_value } => mask_init_value.to_string().parse().ok(),
        _ => None,
    }
}

/// [`QUANTILES`] of all mask parameters; empty if the method has no mask parameters.
pub(crate) fn mask_quantiles(circuit: &CircuitModel<AnyTransformer>) -> Vec<f64> {
    let params = circuit.mask_params();
    let mut values: Vec<f64> = params.values().flat_map(|data| data.iter::<f64>().collect::<Vec<_>>()).collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return Vec::new() };
    QUANTILES.iter().map(|quantile| values[(quantile * last as f64).round() as usize]).collect()
}
