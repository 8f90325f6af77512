//! The circuit model: any Burn module with masks on chosen layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Flag, Module, Param, ParamGroup};
use burn::tensor::{Tensor, TensorData};

use crate::ablation::Ablation;
use crate::build::build_masked_params;
use crate::config::CircuitConfig;
use crate::control::Control;
use crate::error::CircuitError;
use crate::l0::{self, L0Statistics};
use crate::layout::{self, MaskedParam, Role};
use crate::mask::{Attach, new_flag};
use crate::methods::hard_concrete::{HardConcrete, log_odds};
use crate::methods::{Method, initial_logit};
use crate::names;
use crate::patterns::expand_layers;
use crate::snapshot::{MaskSnapshot, snapshots};
use crate::target::{LayerKind, MaskTarget, parameters};

/// Any Burn module with learned binary masks over the parameters of chosen layers.
///
/// The wrapped model runs as before, but each masked parameter is multiplied by its mask. The mask parameters are
/// ordinary Burn parameters, so optimisers, records and device transfers include them.
///
/// # Modes
/// `train()` and `valid()` of [`Module`] switch between training and evaluation. In training, masks are soft, except
/// for magnitude pruning and for frozen mask parameters. In evaluation, masks are hard, and the ablation applies if one
/// is set. A model that is built on a device without autodiff starts in evaluation mode.
///
/// # Shared state
/// All clones, including the copies that `valid()` and `train()` return, share the temperature, the ablation and its
/// samples, the on/off switches, the seed and the noise. Each copy has its own mask parameters.
#[derive(Module, Debug)]
pub struct CircuitModel<M: Module> {
    pub(crate) wrapped_model: M,
    pub(crate) training: Param<Flag>,
    #[module(skip)]
    pub(crate) config: Arc<CircuitConfig>,
    #[module(skip)]
    pub(crate) control: Arc<Control>,
}

/// A masked layer, with shapes in Hugging Face's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedLayer {
    /// Name of the layer.
    pub name: String,
    /// Kind of the layer.
    pub kind: LayerKind,
    /// Shape of the weight.
    pub weight_shape: Vec<usize>,
    /// Shape of the mask parameters of the weight; broadcasts to `weight_shape`.
    pub weight_mask_shape: Vec<usize>,
    /// Shape of the bias and of its mask parameters; `None` if the bias is not masked.
    pub bias_mask_shape: Option<Vec<usize>>,
}

impl MaskedLayer {
    /// Whether the bias of the layer is masked.
    pub fn has_bias_mask(&self) -> bool {
        self.bias_mask_shape.is_some()
    }
}

impl<M: Module> CircuitModel<M> {
    /// Masks the layers of `base` that `config.target_layers` selects from `targets`.
    ///
    /// With `config.freeze_base`, all parameters of `base` are frozen. Without target layers, the model equals `base`.
    /// `config.ablation` is the initial ablation of evaluation mode; training ignores it. (The Python NeuroSurgeon
    /// cannot train a model with an ablation.) With `config.mask_bias`, a layer without a bias gets no bias mask, and
    /// a warning is logged.
    ///
    /// # Errors
    /// Returns the errors of [`CircuitConfig::validate`], and for layers that cannot be masked:
    ///
    /// - [`CircuitError::UnknownLayer`] if a name or pattern matches no target
    /// - [`CircuitError::InvalidConfig`] for a pattern with invalid syntax
    /// - [`CircuitError::DuplicateLayer`] if two targets have the same name
    /// - [`CircuitError::ParameterNotFound`] if the module has no parameter at the path of a target
    /// - [`CircuitError::RankMismatch`] if a parameter does not fit the layer kind of its target
    /// - [`CircuitError::SharedParameter`] if two layers share one parameter
    /// - [`CircuitError::AlreadyReparameterized`] if a parameter already has a mask or another reparameterization
    pub fn new(config: CircuitConfig, base: M, targets: &[MaskTarget]) -> Result<Self, CircuitError> {
        Self::with_constants(config, base, targets, HardConcrete::default())
    }

    /// Like [`new`](Self::new), but with other constants of the hard concrete distribution, for golden cases.
    pub(crate) fn with_constants(
        config: CircuitConfig,
        base: M,
        targets: &[MaskTarget],
        constants: HardConcrete,
    ) -> Result<Self, CircuitError> {
        config.validate()?;
        let target_layers = expand_layers(&config.target_layers, targets.iter().map(|target| target.name.as_str()))?;
        let config = CircuitConfig { target_layers, ..config };
        let params = parameters(&base);
        let masked = build_masked_params(&config, targets, &params)?;
        let method = Method::new(&config.mask_method, constants);
        let control = Arc::new(Control::new(masked, method, config.ablation));

        let autodiff = params.is_empty() || params.values().any(|p| p.autodiff);
        let base = if config.freeze_base { base.freeze() } else { base };
        let wrapped_model = base.apply_reparameterization(Attach {
            control: control.clone(),
            initial_logit: initial_logit(&config.mask_method),
            training: new_flag(autodiff),
        });
        Ok(Self { wrapped_model, training: new_flag(autodiff), config: Arc::new(config), control })
    }

    /// The configuration of the model, with all patterns in `target_layers` expanded to layer names.
    pub fn config(&self) -> &CircuitConfig {
        &self.config
    }

    /// Returns the masked model, ready to run.
    ///
    /// # Errors
    /// Returns [`CircuitError::AblationWhileTraining`] if this copy is in training mode and an ablation was set through
    /// an evaluation copy. Returns [`CircuitError::ComplementTooSmall`] if the ablation has no sample yet and cannot be
    /// sampled.
    pub fn model(&self) -> Result<&M, CircuitError> {
        if self.is_training() {
            self.check_not_ablated()?;
        } else {
            self.sample_missing()?;
        }
        Ok(&self.wrapped_model)
    }

    /// Returns the masked model without the checks of [`model`](Self::model).
    ///
    /// Training ignores the ablation. If the ablation cannot be sampled, an error is logged, and the circuit runs
    /// without the ablation.
    pub fn wrapped(&self) -> &M {
        self.sample_or_report();
        &self.wrapped_model
    }

    /// Returns the circuit as a plain module without masks: the weights are multiplied by the hard masks, and the
    /// active ablation is applied.
    ///
    /// The result is in evaluation mode. Its `train()` returns a trainable copy, in which the parameters that were
    /// frozen in the base are still frozen.
    pub fn materialize_circuit(&self) -> M {
        let plain = self.wrapped_model.valid();
        if self.is_training() {
            // A training copy does not sample the ablation, but its valid() copy does.
            let valid = Self {
                wrapped_model: plain,
                training: self.training.valid(),
                config: self.config.clone(),
                control: self.control.clone(),
            };
            valid.sample_or_report();
            return valid.wrapped_model.materialize();
        }
        self.sample_or_report();
        plain.materialize()
    }

    /// Returns the base as a plain module in evaluation mode, with the base weights bit for bit. The weights are
    /// shared, not copied, so this is cheap.
    pub fn unmasked(&self) -> M {
        let was_on: Vec<bool> = self.control.state().masked.iter().map(|param| param.on).collect();
        self.use_masks(false);
        let base = self.wrapped_model.valid().materialize();
        for (param, on) in self.control.state().masked.iter_mut().zip(was_on) {
            param.on = on;
        }
        base
    }

    /// Whether the model is in training mode.
    pub fn is_training(&self) -> bool {
        self.training.is_enabled()
    }

    /// The temperature of continuous sparsification. It is 1 initially.
    pub fn temperature(&self) -> f32 {
        self.control.state().temperature
    }

    /// Sets the temperature. Only continuous sparsification uses it.
    ///
    /// # Errors
    /// Returns [`CircuitError::InvalidTemperature`] if the temperature is negative or not finite.
    pub fn set_temperature(&self, temperature: f32) -> Result<(), CircuitError> {
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(CircuitError::InvalidTemperature { found: temperature });
        }
        self.control.state().temperature = temperature;
        Ok(())
    }

    /// The ablation of evaluation mode.
    pub fn ablation(&self) -> Ablation {
        self.control.state().ablation
    }

    /// Sets the ablation of evaluation mode and samples the random numbers that it needs. It replaces the configured
    /// ablation.
    ///
    /// The samples are kept until [`resample`](Self::resample), [`set_sample`](Self::set_sample),
    /// [`load_mask_params`](Self::load_mask_params) or the next ablation.
    ///
    /// # Errors
    /// Returns [`CircuitError::AblationWhileTraining`] in training mode, unless the ablation is [`Ablation::None`].
    /// Returns [`CircuitError::ComplementTooSmall`] if `complement_sampled` finds too few entries outside the circuit.
    /// On an error, the ablation is unchanged.
    pub fn set_ablation(&self, ablation: Ablation) -> Result<(), CircuitError> {
        if self.is_training() && ablation != Ablation::None {
            return Err(CircuitError::AblationWhileTraining { ablation });
        }
        let sample = self.control.state().sample;
        self.resample_as(ablation, sample)?;
        self.control.state().ablation_is_configured = false;
        Ok(())
    }

    /// Samples the ablation again, with the next sample number. This affects `randomly_sampled`, `complement_sampled`
    /// and `random_ablate`.
    ///
    /// # Errors
    /// Returns [`CircuitError::ComplementTooSmall`] if `complement_sampled` finds too few entries outside the circuit.
    /// On an error, the old sample is kept.
    pub fn resample(&self) -> Result<(), CircuitError> {
        let next = self.control.state().sample.wrapping_add(1);
        self.set_sample(next)
    }

    /// Samples the ablation with the sample number `index`. The sample number is 0 initially. Equal seeds, masks and
    /// sample numbers yield equal samples.
    ///
    /// # Errors
    /// Returns [`CircuitError::ComplementTooSmall`] if `complement_sampled` finds too few entries outside the circuit.
    /// On an error, the old sample is kept.
    pub fn set_sample(&self, index: u64) -> Result<(), CircuitError> {
        self.resample_as(self.ablation(), index)
    }

    /// Turns all masks on or off. With all masks off, the model equals the base bit for bit.
    pub fn use_masks(&self, on: bool) {
        for param in &mut self.control.state().masked {
            param.on = on;
        }
    }

    /// Turns the masks of the layers in `names` on or off. Leading `wrapped_model.` prefixes are ignored.
    ///
    /// # Errors
    /// Returns [`CircuitError::UnknownLayer`] for a layer without masks. On an error, no mask is switched.
    pub fn use_masks_of(&self, on: bool, names: &[&str]) -> Result<(), CircuitError> {
        let masked = &self.control.masked;
        for name in names {
            let name = names::unwrapped(name);
            if !masked.iter().any(|param| param.layer == name) {
                return Err(CircuitError::UnknownLayer {
                    asked: name.to_string(),
                    nearest: names::nearest(name, weights(masked).map(|weight| weight.layer.as_str())),
                });
            }
        }
        let mut state = self.control.state();
        for (param, state) in masked.iter().zip(&mut state.masked) {
            if names.iter().any(|name| names::unwrapped(name) == param.layer) {
                state.on = on;
            }
        }
        Ok(())
    }

    /// Sets the seed of all random numbers. It is 0 initially. An ablation that is already sampled keeps its sample
    /// until [`resample`](Self::resample).
    pub fn set_seed(&self, seed: u64) {
        self.control.state().seed = seed;
        self.control.forget_noise();
    }

    /// Sets the epoch and step of the next training step. Both are 0 initially.
    ///
    /// Hard concrete noise is a function of (seed, layer, weight or bias, epoch, step). So all reads of a parameter
    /// within one step see the same mask.
    pub fn begin_step(&self, epoch: u64, step: u64) {
        {
            let mut state = self.control.state();
            state.epoch = epoch;
            state.step = step;
        }
        self.control.forget_noise();
    }

    /// Replaces the noise `u` of hard concrete masks, for all following steps. `None` restores sampled noise.
    ///
    /// The keys are `<layer>.weight` and `<layer>.bias`. Each tensor has the shape of the mask parameters in Hugging
    /// Face's layout. Values are clamped to `[1e-4, 1 − 1e-4]`. Parameters without a key use sampled noise.
    ///
    /// # Errors
    /// Returns [`CircuitError::NoiseUnused`] for other mask methods. Returns [`CircuitError::UnexpectedTensor`],
    /// [`CircuitError::ShapeMismatch`] or [`CircuitError::InvalidValues`] for tensors that do not fit the masks.
    pub fn inject_noise(&self, noise: Option<BTreeMap<String, TensorData>>) -> Result<(), CircuitError> {
        let masked = &self.control.masked;
        let mut injected = vec![None; masked.len()];
        if let Some(noise) = noise {
            if !matches!(self.control.method, Method::HardConcrete(_)) {
                return Err(CircuitError::NoiseUnused { method: self.control.method.name() });
            }
            let keys: Vec<String> = masked.iter().map(MaskedParam::key).collect();
            for (name, data) in &noise {
                let i = layout::position(&keys, name)?;
                let values = masked[i].mask_from_hf(name, data)?;
                injected[i] = Some(values.into_iter().map(|u| log_odds(f64::from(u))).collect());
            }
        }
        for (state, values) in self.control.state().masked.iter_mut().zip(injected) {
            state.injected = values;
        }
        self.control.forget_noise();
        Ok(())
    }

    /// The size of the circuit: the number of entries that its hard masks keep. It does not depend on the mode or the
    /// ablation.
    pub fn l0(&self) -> L0Statistics {
        l0::statistics(&self.control, &self.snapshots())
    }

    /// The training L0, summed over all masks, shape `[1]`. It is differentiable for trainable masks. For magnitude
    /// pruning, it is the constant size of the circuit.
    pub fn l0_training(&self) -> Tensor<1> {
        self.snapshots()
            .iter()
            .map(|snapshot| l0::training_term(&self.control, snapshot))
            .reduce(|sum, term| sum + term)
            .unwrap_or_else(|| {
                let device = self.wrapped_model.devices().into_iter().next();
                Tensor::zeros([1], &device.unwrap_or_default())
            })
    }

    /// The L0 term of the loss, `l0_lambda · L0`, shape `[1]`. Returns `None` in evaluation mode, without `add_l0`, and
    /// without masks.
    pub fn l0_loss(&self) -> Option<Tensor<1>> {
        let has_l0_term = self.is_training() && self.config.add_l0 && !self.control.masked.is_empty();
        has_l0_term.then(|| self.l0_training().mul_scalar(self.config.l0_lambda))
    }

    /// The masked layers, in the order of `target_layers`.
    pub fn layers(&self) -> Vec<MaskedLayer> {
        let masked = &self.control.masked;
        weights(masked)
            .map(|weight| MaskedLayer {
                name: weight.layer.clone(),
                kind: weight.kind,
                weight_shape: weight.hf_shape(),
                weight_mask_shape: weight.hf_mask_shape(),
                bias_mask_shape: masked
                    .iter()
                    .find(|param| param.role == Role::Bias && param.layer == weight.layer)
                    .map(MaskedParam::hf_mask_shape),
            })
            .collect()
    }

    /// The parameter group of the masks, without the base weights. A checkpoint of a model with a frozen base needs
    /// only this group.
    pub fn mask_parameters(&self) -> ParamGroup {
        ParamGroup::from_predicate(format!(".{}.", crate::mask::MASK))
    }

    /// Reads the current masks out of the module.
    pub(crate) fn snapshots(&self) -> Vec<MaskSnapshot> {
        snapshots(&self.wrapped_model, &self.control)
    }
}

fn weights(masked: &[MaskedParam]) -> impl Iterator<Item = &MaskedParam> {
    masked.iter().filter(|param| param.role == Role::Weight)
}

#[cfg(test)]
mod tests;
