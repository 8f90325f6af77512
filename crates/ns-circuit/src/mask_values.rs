//! Mask values as plain data in Hugging Face's layout: mask parameters, active masks, hard masks and gradients.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Gradients, TensorData};

use crate::error::{CircuitError, Misfit};
use crate::hard_mask::HardMasks;
use crate::layout::{self, Role};
use crate::mask::{Mask, host};
use crate::model::CircuitModel;
use crate::names;

const PARAMS: &str = "_mask_params";
const MASK: &str = "_mask";

impl<M: Module> CircuitModel<M> {
    /// Returns the mask parameters as `f32` data in Hugging Face's layout, with the keys `<layer>.weight_mask_params`
    /// and `<layer>.bias_mask_params`. Magnitude pruning has none, so the map is empty.
    ///
    /// # Shapes
    /// - masks of single weights: the shape of the weight
    /// - neuron masks: `[out, 1]` (linear), `[1, out]` (GPT Conv1D), `[out, 1, k…]` (convolutions)
    /// - bias masks: `[out]`
    pub fn mask_params(&self) -> BTreeMap<String, TensorData> {
        self.collect(PARAMS, |mask| Some(mask.layout.mask_to_hf(host(mask.logits()?))))
    }

    /// Replaces the mask parameters. On an error, nothing is changed.
    ///
    /// Keys and shapes are those of [`mask_params`](Self::mask_params). Leading `wrapped_model.` prefixes in keys are
    /// ignored. Samples of the active ablation are cleared, because the circuit changes.
    ///
    /// # Errors
    /// - [`CircuitError::MissingTensor`] or [`CircuitError::UnexpectedTensor`] if the keys do not match the masks
    /// - [`CircuitError::ShapeMismatch`] for one wrong shape, [`CircuitError::ShapesMismatch`] for several
    /// - [`CircuitError::InvalidValues`] for values that are NaN or cannot be read as floats
    /// - [`CircuitError::DuplicateLayer`] for two keys that differ only in their prefix
    pub fn load_mask_params(&mut self, params: &BTreeMap<String, TensorData>) -> Result<(), CircuitError> {
        let with_logits = self.masks.iter().filter(|mask| mask.params.is_some());
        let keys: Vec<String> = with_logits.map(|mask| mask.layout.key() + PARAMS).collect();
        let given: Vec<_> = params
            .iter()
            .map(|(given, data)| Ok((layout::position(&keys, names::unwrapped(given))?, data)))
            .collect::<Result<_, CircuitError>>()?;
        check_shapes(&self.masks, &keys, &given)?;
        let mut values = BTreeMap::new();
        for (i, data) in given {
            let name = keys[i].as_str();
            let loaded = self.masks[i].layout.mask_from_hf(name, data)?;
            if values.insert(i, loaded).is_some() {
                return Err(CircuitError::DuplicateLayer { name: name.to_string(), place: "the mask parameters" });
            }
        }
        if let Some(missing) = (0..keys.len()).find(|i| !values.contains_key(i)) {
            return Err(CircuitError::MissingTensor {
                name: keys[missing].clone(),
                nearest: names::nearest(&keys[missing], params.keys().map(String::as_str)),
            });
        }
        values.into_iter().for_each(|(i, values)| self.masks[i].set_logits(values));
        Ok(())
    }

    /// Returns the active masks, with the keys `<layer>.weight_mask` and `<layer>.bias_mask`.
    ///
    /// They depend on the mode, the temperature, the noise and the ablation. Each mask is broadcast to the shape of its
    /// parameter in Hugging Face's layout. A mask that is off is all ones. Under `random_ablate`, a mask is one where
    /// the base weight is kept.
    ///
    /// # Errors
    /// Returns the errors of [`model`](Self::model).
    pub fn effective_masks(&self) -> Result<BTreeMap<String, TensorData>, CircuitError> {
        self.prepare()?;
        Ok(self.collect(MASK, |mask| {
            let values = mask.active().map_or_else(|| vec![1.0; mask.layout.mask_len()], host);
            Some(mask.layout.broadcast_to_hf(&values))
        }))
    }

    /// Returns the hard masks of the circuit, with the keys `<layer>.weight` and `<layer>.bias`.
    ///
    /// They do not depend on the mode, the ablation, or whether masks are on.
    pub fn hard_masks(&self) -> HardMasks {
        let hard = |mask: &Mask| (mask.layout.key(), mask.layout.hard_mask(host(mask.hard())));
        self.pruned_masks().iter().map(hard).collect()
    }

    /// Returns the output units of each masked layer that the circuit keeps: the indices of the units (neurons, or
    /// channels of a convolution) of which the hard mask keeps at least one weight, in order.
    ///
    /// They do not depend on the mode, the ablation, or whether masks are on.
    pub fn kept_units(&self) -> BTreeMap<String, Vec<usize>> {
        let weights = self.pruned_masks().iter().filter(|mask| mask.layout.role == Role::Weight);
        weights.map(|mask| (mask.layout.layer.clone(), mask.layout.kept_units(&host(mask.hard())))).collect()
    }

    /// Like [`kept_units`](Self::kept_units), but of the active masks: those of the mode and of the ablation, with its
    /// sample. A layer whose masks are off keeps all of its units. In training mode, the masks are soft, and a unit is
    /// kept unless its masks are exactly zero.
    ///
    /// # Errors
    /// Returns the errors of [`model`](Self::model).
    pub fn active_units(&self) -> Result<BTreeMap<String, Vec<usize>>, CircuitError> {
        self.prepare()?;
        let units = |mask: &Mask| {
            let values = mask.active().map_or_else(|| vec![1.0; mask.layout.mask_len()], host);
            (mask.layout.layer.clone(), mask.layout.kept_units(&values))
        };
        Ok(self.masks.iter().filter(|mask| mask.layout.role == Role::Weight).map(units).collect())
    }

    /// Returns the gradients of the mask parameters, with the keys and shapes of [`mask_params`](Self::mask_params).
    /// They are zero for a mask that the loss does not depend on.
    pub fn mask_gradients(&self, gradients: &Gradients) -> BTreeMap<String, TensorData> {
        self.collect(PARAMS, |mask| {
            let gradient = mask.logits()?.grad(gradients).map_or_else(|| vec![0.0; mask.layout.mask_len()], host);
            Some(mask.layout.mask_to_hf(gradient))
        })
    }

    /// One tensor per mask. The key is `<layer>.weight` or `<layer>.bias`, followed by `suffix`.
    fn collect(&self, suffix: &str, read: impl Fn(&Mask) -> Option<TensorData>) -> BTreeMap<String, TensorData> {
        self.masks.iter().filter_map(|mask| Some((mask.layout.key() + suffix, read(mask)?))).collect()
    }
}

/// Reports all wrong shapes in one error if there are several. [`ParamLayout::mask_from_hf`](crate::layout::ParamLayout::mask_from_hf) reports a single one.
fn check_shapes(masks: &[Mask], keys: &[String], given: &[(usize, &TensorData)]) -> Result<(), CircuitError> {
    let misfit = |(i, data): &(usize, &TensorData)| {
        let (expected, found) = (masks[*i].layout.hf_mask_shape(), data.shape().as_slice().to_vec());
        (expected != found).then(|| Misfit { name: keys[*i].clone(), expected, found })
    };
    let misfits: Vec<Misfit> = given.iter().filter_map(misfit).collect();
    if misfits.len() > 1 { Err(CircuitError::ShapesMismatch { misfits }) } else { Ok(()) }
}
