//! The values of masks as plain data in Hugging Face's layout: mask parameters, masks in force, gradients.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Gradients, TensorData};

use crate::error::{CircuitError, Misfit};
use crate::hard_mask::HardMasks;
use crate::layout::MaskedParam;
use crate::mask::host;
use crate::model::CircuitModel;
use crate::names;
use crate::snapshot::{MaskSnapshot, with_logits};

const PARAMS: &str = "_mask_params";
const MASK: &str = "_mask";

impl<M: Module> CircuitModel<M> {
    /// The mask parameters, `<layer>.weight_mask_params` and `<layer>.bias_mask_params`, `f32` in Hugging Face's shapes:
    /// the parameter's own for weight masks; for neurons `[out, 1]` (linear), `[1, out]` (GPT Conv1D), `[out, 1, k…]`
    /// (convolutions). Empty for magnitude pruning.
    pub fn mask_params(&self) -> BTreeMap<String, TensorData> {
        self.collect(PARAMS, |param, snapshot| {
            let logits = snapshot.logits.clone()?;
            Some(param.mask_to_hf(host(logits)))
        })
    }

    /// This model with other mask parameters, in the layout of [`mask_params`](Self::mask_params). Leading
    /// `wrapped_model.` in keys are ignored, however many. What an ablation had drawn is forgotten.
    ///
    /// # Errors
    /// [`CircuitError::MissingTensor`], [`CircuitError::UnexpectedTensor`], [`CircuitError::ShapeMismatch`] or
    /// [`CircuitError::ShapesMismatch`], [`CircuitError::InvalidValues`] and, for two keys that differ in their prefix
    /// only, [`CircuitError::DuplicateLayer`].
    pub fn load_mask_params(self, params: &BTreeMap<String, TensorData>) -> Result<Self, CircuitError> {
        let masked = &self.control.masked;
        let keys: Vec<String> = match self.control.method.has_logits() {
            true => masked.iter().map(|param| param.key() + PARAMS).collect(),
            false => Vec::new(),
        };
        let given: Vec<_> = params
            .iter()
            .map(|(given, data)| Ok((names::position(&keys, names::unwrapped(given))?, data)))
            .collect::<Result<_, CircuitError>>()?;
        check_shapes(masked, &keys, &given)?;
        let mut values = BTreeMap::new();
        for (i, data) in given {
            let name = keys[i].as_str();
            let loaded = masked[i].mask_from_hf(name, data)?;
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
        let wrapped_model = with_logits(self.wrapped_model, &self.control, values);
        self.control.forget_samples();
        Ok(Self { wrapped_model, ..self })
    }

    /// The masks in force (mode, temperature, noise, ablation), `<layer>.weight_mask` and `<layer>.bias_mask`, broadcast
    /// to the parameter's shape in Hugging Face's layout. Ones where masks are off; under `random_ablate` what of the
    /// base is kept.
    pub fn effective_masks(&self) -> BTreeMap<String, TensorData> {
        self.sample_or_report();
        self.collect(MASK, |param, snapshot| {
            let mask = snapshot.with_inputs(|inputs| self.control.mask(snapshot.index, inputs));
            let mask = mask.map_or_else(|| vec![1.0; param.mask_len()], host);
            Some(param.broadcast_to_hf(&mask))
        })
    }

    /// The circuit itself by `<layer>.weight` and `<layer>.bias`: its hard masks without ablation, in any mode, whether
    /// masks are on or off.
    pub fn hard_masks(&self) -> HardMasks {
        let mask = |snapshot: &MaskSnapshot| {
            let param = &self.control.masked[snapshot.index];
            let kept = snapshot.with_inputs(|inputs| host(self.control.hard_mask(inputs)));
            (param.key(), param.hard_mask(kept))
        };
        self.snapshots().iter().map(mask).collect()
    }

    /// The gradients of the mask parameters, in the layout of [`mask_params`](Self::mask_params); zeros where the loss
    /// does not depend on a mask.
    pub fn mask_gradients(&self, gradients: &Gradients) -> BTreeMap<String, TensorData> {
        self.collect(PARAMS, |param, snapshot| {
            let logits = snapshot.logits.as_ref()?;
            let gradient = logits.grad(gradients).map_or_else(|| vec![0.0; param.mask_len()], host);
            Some(param.mask_to_hf(gradient))
        })
    }

    /// One tensor a mask, by `<layer>.weight` or `<layer>.bias` and `suffix`.
    fn collect(
        &self,
        suffix: &str,
        read: impl Fn(&MaskedParam, &MaskSnapshot) -> Option<TensorData>,
    ) -> BTreeMap<String, TensorData> {
        self.snapshots()
            .iter()
            .filter_map(|snapshot| {
                let param = &self.control.masked[snapshot.index];
                Some((param.key() + suffix, read(param, snapshot)?))
            })
            .collect()
    }
}

/// Names all tensors of another shape at once; a single one is left to [`MaskedParam::mask_from_hf`].
fn check_shapes(masked: &[MaskedParam], keys: &[String], given: &[(usize, &TensorData)]) -> Result<(), CircuitError> {
    let misfit = |(i, data): &(usize, &TensorData)| {
        let (expected, found) = (masked[*i].hf_mask_shape(), data.shape().as_slice().to_vec());
        (expected != found).then(|| Misfit { name: keys[*i].clone(), expected, found })
    };
    let misfits: Vec<Misfit> = given.iter().filter_map(misfit).collect();
    if misfits.len() > 1 { Err(CircuitError::ShapesMismatch { misfits }) } else { Ok(()) }
}
