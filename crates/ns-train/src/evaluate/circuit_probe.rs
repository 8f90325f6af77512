//! Evaluation of a trained circuit probe: 1-nearest-neighbour accuracy of the probed vectors, which shows whether the
//! circuit represents the variable, and ablations, which show whether the model needs the circuit.

use std::cell::RefCell;

use burn::tensor::Tensor;
use ns_circuit::{CircuitModel, MaskMethod};
use ns_models::{AnyTransformer, Ignore, Model, Transformer};
use ns_probe::{ActivationCache, CircuitProbe, KnnConfig, KnnReport, Probe, ProbePlan, evaluate_knn};
use serde::{Deserialize, Serialize};

use super::scores::last_logits_after;
use super::{AblationReport, AblationStudy};
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
    /// Returns whether two rows have the same variable, block, seed and initial mask value.
    /// [`add_results`](crate::add_results) replaces a row of the same probe.
    pub fn is_same_probe(&self, other: &Self) -> bool {
        let key = |row: &Self| (row.variable, row.block.clone(), row.seed, row.mask_init_value.map(f64::to_bits));
        key(self) == key(other)
    }
}

/// A trained probe and the inputs of its evaluation.
pub(crate) struct ProbeEvaluation<'a> {
    pub(crate) recipe: &'a ProbeRecipe,
    /// The examples, labelled with the probed variable.
    pub(crate) data: &'a dyn Dataset,
    pub(crate) seed: u64,
    /// The probe, in evaluation mode.
    pub(crate) probe: CircuitProbe<AnyTransformer>,
    pub(crate) activations: &'a mut ActivationCache,
}

impl ProbeEvaluation<'_> {
    /// Computes the 1-NN accuracies of the circuit and of the full model, and the ablations with their controls.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if the probe or the k-NN evaluation fails, and errors of the ablation study.
    pub(crate) fn row(mut self) -> Result<ProbeRow, TrainError> {
        let (masked, unmasked, ablation) = (self.knn(true)?, self.knn(false)?, self.ablation()?);
        let (recipe, circuit) = (self.recipe, self.probe.circuit());
        let all = ablation.rows.first();
        let random = all.and_then(|row| row.randomly_sampled);
        let complement = all.and_then(|row| row.complement_sampled);
        let l0 = circuit.l0();
        Ok(ProbeRow {
            variable: recipe.variable,
            block: recipe.block(),
            seed: self.seed,
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
            l0: l0.weights as f64,
            l0_max: l0.max_weights as f64,
            mask_init_value: mask_init_value(recipe),
            mask_quantiles: mask_quantiles(circuit),
        })
    }

    /// Ablates the circuit and predicts the answers of the test examples. The frozen activations are cached, because no
    /// mask changes them.
    fn ablation(&mut self) -> Result<AblationReport, TrainError> {
        let circuit = self.probe.circuit();
        let data = self.recipe.task.read(None)?;
        let rows = &data.split().test;
        let labels = label_tensor(data.labels(rows), &circuit.base().device());
        let layers: Vec<String> = circuit.layers().into_iter().map(|layer| layer.name).collect();
        let plan = ProbePlan::all_blocks(circuit.base(), &layers);
        self.activations.release();
        let activations = RefCell::new(self.activations.another());
        let logits_of = |model: &AnyTransformer, rows: &[usize]| {
            let mut batch = data.batch(rows, &model.device())?;
            // The plan holds the activations of all tokens.
            batch.token_mask.fill(true);
            let frozen = activations.borrow_mut().frozen_activations(&plan, model, rows, &batch)?;
            last_logits_after(model, model.context(&batch.inputs)?, |context| {
                Ok(plan.walk_blocks(model, &frozen, &batch.inputs, context, &mut Ignore)?)
            })
        };
        let study = AblationStudy { controls: self.recipe.evaluation.controls, ..AblationStudy::default() };
        study.run(circuit, &labels, &|model| {
            let logits = rows.chunks(EVALUATION_BATCH).map(|rows| logits_of(model, rows));
            Ok(Tensor::cat(logits.collect::<Result<_, _>>()?, 0))
        })
    }

    /// 1-NN accuracies of the circuit's vectors, or of the full model's if not `masked`.
    fn knn(&mut self, masked: bool) -> Result<KnnReport, TrainError> {
        let split = self.data.split();
        let (train, test) = (self.vectors(&split.train, masked)?, self.vectors(&split.test, masked)?);
        let (train_labels, test_labels) = (self.data.labels(&split.train), self.data.labels(&split.test));
        // An example is known by its place in the split, which depends on the recipe alone.
        let keys = Some((0..split.train.len() as u64).collect());
        let config = KnnConfig { keys, ..KnnConfig::per_class(self.recipe.evaluation.memory_per_class, self.seed) };
        Ok(evaluate_knn((train, &train_labels), (test, &test_labels), &config)?)
    }

    /// Vectors of some examples at the probed site, from the circuit or, if not `masked`, from the full model.
    ///
    /// # Shapes
    /// - output: `[rows, hidden]`
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

/// Initial mask value as the recipe writes it: 0.1 and not the nearest `f32`, 0.10000000149011612.
fn mask_init_value(recipe: &ProbeRecipe) -> Option<f64> {
    match recipe.circuit_config.mask_method {
        MaskMethod::ContinuousSparsification { mask_init_value } => mask_init_value.to_string().parse().ok(),
        _ => None,
    }
}

/// [`QUANTILES`] of all mask parameters; empty if the method has no mask parameters.
fn mask_quantiles(circuit: &CircuitModel<AnyTransformer>) -> Vec<f64> {
    let params = circuit.mask_params();
    let mut values: Vec<f64> = params.values().flat_map(|data| data.iter::<f64>().collect::<Vec<_>>()).collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return Vec::new() };
    QUANTILES.iter().map(|quantile| values[(quantile * last as f64).round() as usize]).collect()
}
