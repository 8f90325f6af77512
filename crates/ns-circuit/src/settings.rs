//! The settings of a circuit model: temperature, variant and its sample, switches, seed, step and noise.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::TensorData;

use crate::ablation::ModelVariant;
use crate::error::CircuitError;
use crate::layout;
use crate::mask::Settings;
use crate::methods::hard_concrete::log_odds;
use crate::model::CircuitModel;
use crate::names;

impl<M: Module> CircuitModel<M> {
    /// The temperature of continuous sparsification. It is 1 initially.
    pub fn temperature(&self) -> f32 {
        self.settings.temperature
    }

    /// Sets the temperature. Only continuous sparsification uses it.
    ///
    /// # Errors
    /// Returns [`CircuitError::InvalidTemperature`] if the temperature is negative or not finite.
    pub fn set_temperature(&mut self, temperature: f32) -> Result<(), CircuitError> {
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(CircuitError::InvalidTemperature { found: temperature });
        }
        self.set(Settings { temperature, ..self.settings });
        Ok(())
    }

    /// What this copy runs. Initially, it is the configured ablation in evaluation mode, and the circuit in training
    /// mode or without a configured ablation.
    pub fn variant(&self) -> ModelVariant {
        let Settings { variant, is_configured, .. } = self.settings;
        if is_configured && self.is_training() { ModelVariant::CircuitOnly } else { variant }
    }

    /// Sets what this copy runs, and samples the random numbers that an ablation needs. It replaces the configured
    /// ablation.
    ///
    /// The samples are kept until [`resample`](Self::resample), [`set_sample`](Self::set_sample) or the next variant.
    /// They are cleared if the circuit changes, as by [`load_mask_params`](Self::load_mask_params), and by functions of
    /// [`Module`] that map it or move it, as `freeze` and `to_device`. The next use samples again with the current seed
    /// and sample number. A model that [`model`](Self::model) returned keeps its samples.
    ///
    /// In training mode, the whole model has no gradient if the base is frozen, so
    /// [`Losses::backward`](crate::Losses::backward) has only the L0 term.
    ///
    /// # Errors
    /// Returns [`CircuitError::AblationWhileTraining`] for an ablation in training mode. Returns
    /// [`CircuitError::ComplementTooSmall`] if `complement_sampled` finds too few entries outside the circuit. On an
    /// error, the variant is unchanged.
    pub fn set_variant(&mut self, variant: ModelVariant) -> Result<(), CircuitError> {
        self.check_mode(variant)?;
        self.sample_for(Settings { variant, is_configured: false, ..self.settings })
    }

    /// Refuses an ablation in training mode.
    pub(crate) fn check_mode(&self, variant: ModelVariant) -> Result<(), CircuitError> {
        match variant {
            ModelVariant::Ablated(ablation) if self.is_training() => {
                Err(CircuitError::AblationWhileTraining { ablation })
            }
            _ => Ok(()),
        }
    }

    /// Samples the ablation again, with the next sample number. This affects `randomly_sampled`, `complement_sampled`
    /// and `random_ablate`.
    ///
    /// # Errors
    /// Returns [`CircuitError::ComplementTooSmall`] if `complement_sampled` finds too few entries outside the circuit.
    /// On an error, the old sample is kept.
    pub fn resample(&mut self) -> Result<(), CircuitError> {
        self.set_sample(self.settings.sample.wrapping_add(1))
    }

    /// Samples the ablation with the sample number `index`. The sample number is 0 initially. Equal seeds, masks and
    /// sample numbers yield equal samples.
    ///
    /// # Errors
    /// Returns [`CircuitError::ComplementTooSmall`] if `complement_sampled` finds too few entries outside the circuit.
    /// On an error, the old sample is kept.
    pub fn set_sample(&mut self, index: u64) -> Result<(), CircuitError> {
        self.sample_for(Settings { sample: index, ..self.settings })
    }

    /// Samples what the ablation of `settings` needs, and takes over the settings. In training mode, sampling is left
    /// to the next evaluation copy.
    fn sample_for(&mut self, settings: Settings) -> Result<(), CircuitError> {
        let samples = match self.is_training() {
            true => vec![None; self.masks.len()],
            false => self.pruned_masks().iter().map(|mask| mask.sample(settings)).collect::<Result<_, _>>()?,
        };
        self.masks.iter_mut().zip(samples).for_each(|(mask, sample)| mask.set_sample(sample));
        self.set(settings);
        Ok(())
    }

    /// Turns the masks of the layers in `names` on or off. All masks are on initially. Leading `wrapped_model.` prefixes
    /// are ignored. With all masks off, the model equals the base bit for bit, as [`ModelVariant::WholeModel`] does.
    ///
    /// # Errors
    /// Returns [`CircuitError::UnknownLayer`] for a layer without masks. On an error, no mask is switched.
    pub fn use_masks_of(&mut self, on: bool, names: &[&str]) -> Result<(), CircuitError> {
        let names: Vec<&str> = names.iter().map(|name| names::unwrapped(name)).collect();
        if let Some(unknown) = names.iter().find(|name| !self.weights().any(|weight| weight.layer == **name)) {
            let nearest = names::nearest(unknown, self.weights().map(|weight| weight.layer.as_str()));
            return Err(CircuitError::UnknownLayer { asked: unknown.to_string(), nearest });
        }
        let named = self.masks.iter_mut().filter(|mask| names.contains(&mask.layout.layer.as_str()));
        named.for_each(|mask| mask.on = on);
        Ok(())
    }

    /// Sets the seed of all random numbers. It is 0 initially. An ablation that is already sampled keeps its sample,
    /// as [`set_variant`](Self::set_variant) describes.
    pub fn set_seed(&mut self, seed: u64) {
        self.set(Settings { seed, ..self.settings });
    }

    /// Sets the epoch and step of the next training step. Both are 0 initially.
    ///
    /// Hard concrete noise is a function of (seed, layer, weight or bias, epoch, step). So all reads of a parameter
    /// within one step see the same mask.
    pub fn begin_step(&mut self, epoch: u64, step: u64) {
        self.set(Settings { epoch, step, ..self.settings });
    }

    /// Replaces the noise `u` of hard concrete masks, for all following steps. `None` restores sampled noise.
    ///
    /// The keys are `<layer>.weight` and `<layer>.bias`. Each tensor has the shape of the mask parameters in Hugging
    /// Face's layout. Values are clamped to `[1e-4, 1 − 1e-4]`. Parameters without a key use sampled noise.
    ///
    /// # Errors
    /// Returns [`CircuitError::NoiseUnused`] for other mask methods. Returns [`CircuitError::UnexpectedTensor`],
    /// [`CircuitError::ShapeMismatch`] or [`CircuitError::InvalidValues`] for tensors that do not fit the masks.
    pub fn inject_noise(&mut self, noise: Option<BTreeMap<String, TensorData>>) -> Result<(), CircuitError> {
        let mut injected = vec![None; self.masks.len()];
        if let Some(noise) = noise {
            if self.masks.iter().any(|mask| !mask.method.uses_noise()) {
                return Err(CircuitError::NoiseUnused { method: self.config.mask_method.name() });
            }
            let keys: Vec<String> = self.masks.iter().map(|mask| mask.layout.key()).collect();
            for (name, data) in &noise {
                let i = layout::position(&keys, name)?;
                let values = self.masks[i].layout.mask_from_hf(name, data)?;
                injected[i] = Some(values.into_iter().map(|u| log_odds(f64::from(u))).collect());
            }
        }
        self.masks.iter_mut().zip(injected).for_each(|(mask, noise)| mask.inject(noise));
        Ok(())
    }

    fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.masks.iter_mut().for_each(|mask| mask.set(settings));
    }
}

#[cfg(test)]
mod tests;
