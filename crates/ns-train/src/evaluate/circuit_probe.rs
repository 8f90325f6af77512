//! Evaluation of a trained circuit probe: 1-nearest-neighbour accuracy of the probed vectors, which shows whether the
//! circuit represents the variable.

use burn::tensor::Tensor;
use ns_circuit::{CircuitConfig, CircuitModel, MaskMethod};
use ns_models::{AnyTransformer, Model};
use ns_probe::{ActivationCache, CircuitProbe, KnnConfig, KnnReport, Probe, evaluate_knn};

use crate::data::Dataset;
use crate::error::TrainError;

/// Most examples per forward pass.
const EVALUATION_BATCH: usize = 1024;
/// The reported quantiles of the mask parameters.
const QUANTILES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

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
