//! The units of a circuit, and random sets of units of the same size.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::TensorData;
use ns_circuit::{CircuitModel, rng};

use crate::error::TrainError;
use crate::evaluate::unit_ablation::KeptUnits;
use crate::evaluate::unit_ranking::{MaskParams, masked_layer, masks_bias};

/// The units of all masked layers: entries of the masks, one mask after another, in row-major order.
#[derive(Clone, Debug)]
pub(super) struct CircuitUnits {
    masks: Vec<UnitMask>,
    in_circuit: Vec<bool>,
    seed: u64,
}

/// The mask of one parameter.
#[derive(Clone, Debug)]
pub(super) struct UnitMask {
    key: String,
    pub(super) shape: Vec<usize>,
    /// The units of this mask.
    pub(super) units: Range<usize>,
}

/// Whether each unit is kept.
pub(super) type Kept = Vec<bool>;

impl UnitMask {
    /// Hugging Face name of the layer.
    pub(super) fn layer(&self) -> &str {
        masked_layer(&self.key)
    }

    /// Whether it masks a bias.
    pub(super) fn is_bias(&self) -> bool {
        masks_bias(&self.key)
    }
}

impl CircuitUnits {
    /// The units of a circuit. Without `with_biases`, masks of biases are left out. `seed` is that of the random sets.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a circuit without mask parameters: one without masked layers, or magnitude
    /// pruning.
    pub(super) fn new<M: Module>(circuit: &CircuitModel<M>, with_biases: bool, seed: u64) -> Result<Self, TrainError> {
        let (mut masks, mut in_circuit) = (Vec::new(), Vec::new());
        for (key, logits) in circuit.mask_params() {
            let start = in_circuit.len();
            let units = start..start + logits.num_elements();
            let mask = UnitMask { key, shape: logits.shape().to_vec(), units };
            if with_biases || !mask.is_bias() {
                // The hard mask of every method with parameters is open above 0.
                in_circuit.extend(logits.iter::<f32>().map(|logit| logit > 0.0));
                masks.push(mask);
            }
        }
        let expected = "random circuits need mask parameters: masked layers, and a mask method that has them (not \
                        magnitude_pruning)";
        TrainError::check(!in_circuit.is_empty(), "the circuit", "one without units", expected)?;
        Ok(Self { masks, in_circuit, seed })
    }

    pub(super) fn masks(&self) -> &[UnitMask] {
        &self.masks
    }

    /// Number of units.
    pub(super) fn len(&self) -> usize {
        self.in_circuit.len()
    }

    /// Number of units in the circuit.
    pub(super) fn size(&self) -> usize {
        count(&self.in_circuit)
    }

    /// Whether a unit is in the circuit.
    pub(super) fn has(&self, unit: usize) -> bool {
        self.in_circuit.get(unit).is_some_and(|has| *has)
    }

    /// Keeps the circuit.
    pub(super) fn circuit(&self) -> Kept {
        self.in_circuit.clone()
    }

    /// Keeps all but the circuit.
    pub(super) fn complement(&self) -> Kept {
        self.in_circuit.iter().map(|has| !has).collect()
    }

    /// Keeps the circuit without some of its units.
    pub(super) fn without(&self, units: &[usize]) -> Kept {
        with(self.circuit(), units.iter().copied(), false)
    }

    /// Keeps as many random units of each mask as the circuit.
    pub(super) fn random_circuit(&self, draw: usize) -> Kept {
        let drawn = self.drawn("random circuit", draw, |_| true);
        with(vec![false; self.len()], drawn, true)
    }

    /// Keeps all but as many random units of each mask as the circuit has. They are drawn from outside the circuit if
    /// [`Self::has_large_complement`], otherwise from all units.
    pub(super) fn random_removed(&self, draw: usize) -> Kept {
        let from_all = !self.has_large_complement();
        let drawn = self.drawn("random removal", draw, |unit| from_all || !self.has(unit));
        with(vec![true; self.len()], drawn, false)
    }

    /// Whether each mask has at least as many units outside the circuit as in it.
    pub(super) fn has_large_complement(&self) -> bool {
        self.masks.iter().all(|mask| 2 * self.size_of(mask) <= mask.units.len())
    }

    /// Which of `count` parts is the model of a random set that inflates the circuit.
    pub(super) fn drawn_part(&self, (family, draw): (usize, usize), count: usize) -> usize {
        rng::below(&mut rng::stream(self.seed, &format!("inflating part {family}"), 0, draw as u64), count)
    }

    /// Keeps the circuit and as many random units outside it as `part` has: in the same masks as far as they have that
    /// many, the rest in other masks. All units outside, if there are fewer.
    pub(super) fn inflated(&self, part: &[usize], (family, draw): (usize, usize)) -> Kept {
        let mut stream = rng::stream(self.seed, &format!("inflated circuit {family}"), 0, draw as u64);
        let (mut kept, mut missing) = (self.circuit(), 0);
        for mask in &self.masks {
            let size = part.iter().filter(|unit| mask.units.contains(unit)).count();
            if size > 0 {
                let pool: Vec<usize> = mask.units.clone().filter(|unit| !self.has(*unit)).collect();
                missing += size.saturating_sub(pool.len());
                let drawn = rng::sample_without_replacement(&mut stream, pool.len(), size);
                kept = with(kept, drawn.into_iter().filter_map(|place| pool.get(place).copied()), true);
            }
        }
        if missing > 0 {
            let pool: Vec<usize> = (0..kept.len()).filter(|unit| !kept[*unit]).collect();
            let drawn = rng::sample_without_replacement(&mut stream, pool.len(), missing);
            kept = with(kept, drawn.into_iter().filter_map(|place| pool.get(place).copied()), true);
        }
        kept
    }

    /// Mask parameters of a circuit.
    pub(super) fn params(&self, kept: &[bool]) -> MaskParams {
        let logit = |kept: &bool| if *kept { 1.0_f32 } else { -1.0 };
        let params = self.masks.iter().map(|mask| {
            let logits: Vec<f32> = kept.iter().skip(mask.units.start).take(mask.units.len()).map(logit).collect();
            (mask.key.clone(), TensorData::new(logits, mask.shape.clone()))
        });
        params.collect()
    }

    /// The neurons that a circuit keeps, for masks of neurons.
    pub(super) fn neurons(&self, kept: &[bool]) -> KeptUnits {
        let of_mask = |mask: &UnitMask| {
            let kept = kept.iter().skip(mask.units.start).take(mask.units.len()).enumerate();
            kept.filter(|(_, kept)| **kept).map(|(neuron, _)| neuron).collect()
        };
        let weights = self.masks.iter().filter(|mask| !mask.is_bias());
        weights.map(|mask| (mask.layer().to_string(), of_mask(mask))).collect()
    }

    /// For each mask as many units as the circuit has in it, from those that are `allowed`.
    fn drawn(&self, label: &str, draw: usize, allowed: impl Fn(usize) -> bool) -> Vec<usize> {
        let of_mask = |mask: &UnitMask| {
            let mut stream = rng::stream(self.seed, &format!("{label}/{}", mask.key), 0, draw as u64);
            let pool: Vec<usize> = mask.units.clone().filter(|unit| allowed(*unit)).collect();
            let places = rng::sample_without_replacement(&mut stream, pool.len(), self.size_of(mask));
            places.into_iter().filter_map(|place| pool.get(place).copied()).collect::<Vec<_>>()
        };
        self.masks.iter().flat_map(of_mask).collect()
    }

    /// Number of units of a mask in the circuit.
    fn size_of(&self, mask: &UnitMask) -> usize {
        self.in_circuit.get(mask.units.clone()).map_or(0, count)
    }
}

fn count(kept: &[bool]) -> usize {
    kept.iter().filter(|kept| **kept).count()
}

/// Keeps, or does not keep, some more units.
fn with(mut kept: Kept, units: impl IntoIterator<Item = usize>, keep: bool) -> Kept {
    units.into_iter().for_each(|unit| {
        if let Some(kept) = kept.get_mut(unit) {
            *kept = keep;
        }
    });
    kept
}
