//! The units of a circuit from the best to the worst, and circuits of any size from them.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::TensorData;
use ns_circuit::{CircuitModel, rng};

use crate::error::TrainError;
use crate::statistics::{ScoreOrder, best_units, circuit_sizes, ranks};

/// Mask parameters by name, as [`CircuitModel::load_mask_params`] takes them.
pub(crate) type MaskParams = BTreeMap<String, TensorData>;

/// How the names of mask parameters of weights end.
const WEIGHT: &str = ".weight_mask_params";
/// How the names of mask parameters of biases end.
const BIAS: &str = ".bias_mask_params";

/// Hugging Face name of the layer with some mask parameters.
pub(crate) fn masked_layer(params: &str) -> &str {
    [WEIGHT, BIAS].iter().find_map(|end| params.strip_suffix(end)).unwrap_or(params)
}

/// Whether mask parameters are those of a bias.
pub(crate) fn masks_bias(params: &str) -> bool {
    params.ends_with(BIAS)
}

/// The units of all masked layers from the best to the worst. A unit is an entry of a mask: a neuron, or a single weight.
#[derive(Clone, Debug)]
pub(crate) struct UnitRanking {
    /// Names and shapes of the masks.
    masks: Vec<(String, Vec<usize>)>,
    /// The score of each unit: the masks one after another, entries in row-major order.
    scores: Vec<f64>,
    /// The units from the best to the worst. Units with equal scores are in the order of the masks.
    order: Vec<usize>,
}

impl UnitRanking {
    /// Ranks the units of a circuit by their mask parameters.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a circuit without mask parameters: one without masked layers, or magnitude
    /// pruning.
    pub(crate) fn of_masks<M: Module>(circuit: &CircuitModel<M>) -> Result<Self, TrainError> {
        let params = circuit.mask_params();
        let scores = params.values().flat_map(|data| data.iter::<f64>()).collect();
        Self::new(params.iter().map(|(name, data)| (name.clone(), data.shape().to_vec())).collect(), scores)
    }

    /// Ranks the units of a circuit by scores, one for each entry of each mask.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a circuit without mask parameters.
    pub(crate) fn of_scores<M: Module>(
        circuit: &CircuitModel<M>,
        score: impl Fn(&str, usize) -> f64,
    ) -> Result<Self, TrainError> {
        let masks: Vec<(String, Vec<usize>)> =
            circuit.mask_params().iter().map(|(name, data)| (name.clone(), data.shape().to_vec())).collect();
        let of_mask = |(name, shape): &(String, Vec<usize>)| {
            (0..shape.iter().product()).map(|entry| score(name, entry)).collect::<Vec<_>>()
        };
        let scores = masks.iter().flat_map(of_mask).collect();
        Self::new(masks, scores)
    }

    fn new(masks: Vec<(String, Vec<usize>)>, scores: Vec<f64>) -> Result<Self, TrainError> {
        let expected = "a ranking needs mask parameters: masked layers, and a mask method that has them (not \
                        magnitude_pruning)";
        TrainError::check(!scores.is_empty(), "the circuit", "one without units", expected)?;
        let order = best_units(&scores, ScoreOrder::Signed, scores.len())?;
        Ok(Self { masks, scores, order })
    }

    /// The same units in a random order, a function of `seed` and `draw`.
    pub(crate) fn shuffled(&self, seed: u64, draw: usize) -> Self {
        let order = rng::permutation(&mut rng::stream(seed, "random ranking", 0, draw as u64), self.order.len());
        Self { order, ..self.clone() }
    }

    /// Number of units.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Number of units in a share of them, which `key` names in errors.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a share that is not between 0 and 1, or of no unit.
    pub(crate) fn size_of(&self, key: &'static str, share: f64) -> Result<usize, TrainError> {
        let n = self.len();
        let size = circuit_sizes(&[share], n)?.first().copied().unwrap_or_default();
        let expected = format!("there are {n} units, so it must be at least {}", 1.0 / n as f64);
        TrainError::check(size > 0, key, share, expected)?;
        Ok(size)
    }

    /// Mask parameters that keep the first `size` units.
    pub(crate) fn circuit(&self, size: usize) -> MaskParams {
        let mut logits = vec![-1.0_f32; self.len()];
        self.order.iter().take(size).for_each(|unit| logits[*unit] = 1.0);
        self.params(&logits)
    }

    /// Mask parameters between −1 and 1 in the order of the ranking, which keep the first `size` units. Units with equal
    /// scores have the mean of their ranks, so they are all kept or none of them.
    pub(crate) fn logits(&self, size: usize) -> MaskParams {
        let n = self.len() as f64;
        // Ranks rise with the score: the best unit has the rank n.
        let logit = |rank: f64| ((rank - (n - size as f64) - 0.5) / n) as f32;
        self.params(&ranks(&self.scores).into_iter().map(logit).collect::<Vec<_>>())
    }

    /// Number of units whose score is that of the last one of a circuit of `size` units and of the first one outside it.
    pub(crate) fn tied(&self, size: usize) -> usize {
        let score = |place: usize| self.order.get(place).map(|unit| self.scores[*unit]);
        match (size.checked_sub(1).and_then(score), score(size)) {
            (Some(last), Some(next)) if last == next => self.scores.iter().filter(|score| **score == last).count(),
            _ => 0,
        }
    }

    fn params(&self, logits: &[f32]) -> MaskParams {
        let mut rest = logits;
        let mut params = MaskParams::new();
        for (name, shape) in &self.masks {
            let (of_mask, others) = rest.split_at(shape.iter().product());
            params.insert(name.clone(), TensorData::new(of_mask.to_vec(), shape.clone()));
            rest = others;
        }
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(scores: &[f64]) -> UnitRanking {
        let masks = vec![("a".to_string(), vec![2, 1]), ("b".to_string(), vec![scores.len() - 2])];
        UnitRanking::new(masks, scores.to_vec()).unwrap()
    }

    fn values(params: &MaskParams) -> Vec<f32> {
        params.values().flat_map(|data| data.iter::<f32>()).collect()
    }

    #[test]
    fn the_first_units_are_kept() {
        let ranking = ranking(&[0.5, -1.0, 2.0, 0.0]);
        assert_eq!(values(&ranking.circuit(2)), [1.0, -1.0, 1.0, -1.0]);
        assert_eq!(values(&ranking.logits(2)), [0.125, -0.375, 0.375, -0.125]);
        assert_eq!(ranking.circuit(1)["a"].shape().to_vec(), [2, 1]);
        assert!(values(&ranking.logits(0)).iter().all(|logit| *logit < 0.0));
        assert!(values(&ranking.logits(4)).iter().all(|logit| *logit > 0.0));
        assert_eq!((ranking.tied(2), ranking.tied(4)), (0, 0));
    }

    #[test]
    fn equal_units_are_kept_together() {
        let ranking = ranking(&[1.0, 1.0, 3.0, 1.0]);
        assert_eq!(ranking.tied(2), 3);
        let kept = |size: usize| values(&ranking.logits(size)).iter().filter(|logit| **logit > 0.0).count();
        assert_eq!((kept(1), kept(2), kept(3)), (1, 1, 4));
    }

    #[test]
    fn random_orders_have_all_units_and_differ() {
        let ranking = ranking(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let (first, second) = (ranking.shuffled(0, 0), ranking.shuffled(0, 1));
        assert_ne!(first.order, second.order);
        let mut order = first.order.clone();
        order.sort_unstable();
        assert_eq!(order, (0..8).collect::<Vec<_>>());
        assert_eq!(first.order, ranking.shuffled(0, 0).order);
    }
}
