//! A circuit as plain data: which entries of each masked parameter it keeps.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::CircuitError;

/// The entries of one parameter that a circuit keeps, in Hugging Face's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardMask {
    shape: Vec<usize>,
    mask_shape: Vec<usize>,
    kept: Vec<bool>,
}

/// The hard masks of a circuit, with the keys `<layer>.weight` and `<layer>.bias`.
pub type HardMasks = BTreeMap<String, HardMask>;

impl HardMask {
    /// Creates the mask of a parameter with `shape`.
    ///
    /// `kept` holds the entries of the mask in row-major order. Each dimension of `mask_shape` is equal to that of
    /// `shape`, or 1 if the mask is broadcast along it. `name` identifies the mask in errors.
    ///
    /// # Errors
    /// Returns [`CircuitError::ShapeMismatch`] if `mask_shape` does not broadcast to `shape`, and
    /// [`CircuitError::InvalidValues`] if the number of entries in `kept` does not match `mask_shape`.
    pub fn new(name: &str, shape: &[usize], mask_shape: &[usize], kept: Vec<bool>) -> Result<Self, CircuitError> {
        let fits = |(mask, whole): (&usize, &usize)| mask == whole || *mask == 1;
        if mask_shape.len() != shape.len() || !mask_shape.iter().zip(shape).all(fits) {
            return Err(CircuitError::ShapeMismatch {
                name: name.to_string(),
                expected: shape.to_vec(),
                found: mask_shape.to_vec(),
            });
        }
        let expected = mask_shape.iter().product::<usize>();
        if kept.len() != expected {
            let message = format!("a mask of shape {mask_shape:?} has {expected} entries, found {}", kept.len());
            return Err(CircuitError::InvalidValues { name: name.to_string(), message });
        }
        Ok(Self { shape: shape.to_vec(), mask_shape: mask_shape.to_vec(), kept })
    }

    /// Like [`HardMask::new`], without checks.
    pub(crate) fn new_unchecked(shape: Vec<usize>, mask_shape: Vec<usize>, kept: Vec<bool>) -> Self {
        Self { shape, mask_shape, kept }
    }

    /// Shape of the parameter.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of entries of the parameter.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the parameter has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the circuit keeps each entry of the parameter, in row-major order.
    pub fn entries(&self) -> Cow<'_, [bool]> {
        let axes = (0..self.shape.len()).filter(|axis| self.shape[*axis] != self.mask_shape[*axis]);
        axes.fold(Cow::Borrowed(&self.kept[..]), |kept, axis| Cow::Owned(self.repeated(&kept, axis)))
    }

    /// Repeats `kept` along `axis`. All axes before `axis` are already expanded.
    fn repeated(&self, kept: &[bool], axis: usize) -> Vec<bool> {
        let inner: usize = self.mask_shape[axis + 1..].iter().product();
        let times = self.shape[axis];
        let mut repeated = Vec::with_capacity(kept.len() * times);
        for block in kept.chunks(inner.max(1)) {
            (0..times).for_each(|_| repeated.extend_from_slice(block));
        }
        repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablation::{Ablation, ModelVariant};
    use crate::config::{CircuitConfig, MaskUnit};
    use crate::model::CircuitModel;
    use crate::testing::{CONCRETE, PRUNE, SPARSE, circuit, with_method};
    use burn::module::Module;

    #[test]
    fn a_mask_of_neurons_covers_their_inputs() {
        let rows = HardMask::new("w", &[3, 2], &[3, 1], vec![true, false, true]).unwrap();
        assert_eq!(*rows.entries(), [true, true, false, false, true, true]);
        let columns = HardMask::new("w", &[2, 3], &[1, 3], vec![true, false, true]).unwrap();
        assert_eq!(*columns.entries(), [true, false, true, true, false, true]);
        let all = HardMask::new("w", &[2, 2, 2], &[2, 1, 1], vec![true, false]).unwrap();
        assert_eq!(*all.entries(), [true, true, true, true, false, false, false, false]);
    }

    #[test]
    fn a_mask_that_does_not_fit_is_named() {
        let error = HardMask::new("h.0.weight", &[3, 2], &[2, 1], vec![true; 2]).unwrap_err();
        assert!(matches!(error, CircuitError::ShapeMismatch { ref name, .. } if name == "h.0.weight"), "{error}");
        let error = HardMask::new("w", &[3, 2], &[3, 2], vec![true; 5]).unwrap_err();
        assert!(error.to_string().contains("6 entries, found 5"), "{error}");
    }

    /// The active masks, as booleans.
    fn active_masks<M: Module>(circuit: &CircuitModel<M>) -> BTreeMap<String, Vec<bool>> {
        let bools = |data: burn::tensor::TensorData| data.iter::<f32>().map(|value| value != 0.0).collect();
        circuit.effective_masks().unwrap().into_iter().map(|(name, data)| (name, bools(data))).collect()
    }

    #[test]
    fn the_circuit_is_the_same_in_every_mode() {
        for method in [SPARSE, CONCRETE, PRUNE] {
            let units = match method {
                PRUNE => vec![MaskUnit::Weight],
                _ => vec![MaskUnit::Weight, MaskUnit::Neuron],
            };
            for mask_unit in units {
                let circuit = circuit(&CircuitConfig { mask_unit, ..with_method(method) });
                let mut eval = circuit.valid();
                let expected = active_masks(&eval);
                let found = |circuit: &CircuitModel<_>| -> BTreeMap<String, Vec<bool>> {
                    let masks = circuit.hard_masks().into_iter();
                    masks.map(|(name, mask)| (format!("{name}_mask"), mask.entries().into_owned())).collect()
                };
                assert_eq!(found(&circuit), expected);
                eval.set_variant(ModelVariant::Ablated(Ablation::ZeroAblate)).unwrap();
                assert_eq!(found(&eval), expected);
                eval.set_variant(ModelVariant::WholeModel).unwrap();
                assert_eq!(found(&eval), expected);
            }
        }
    }
}
