//! A model with masks on chosen layers.

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
use crate::layout::{MaskedParam, Role};
use crate::mask::{Attach, new_flag};
use crate::methods::hard_concrete::{HardConcrete, log_odds};
use crate::methods::{Method, initial_logit};
use crate::names;
use crate::patterns::expand_layers;
use crate::snapshot::{MaskSnapshot, snapshots};
use crate::target::{LayerKind, MaskTarget, parameters};

/// Any Burn module with learned binary masks over the parameters of chosen layers.
///
/// The wrapped model runs as it always does; each masked parameter is its base times a mask. The mask parameters are
/// ordinary Burn parameters, so optimisers, records and devices see them.
///
/// # Modes
/// `train()` and `valid()` of [`Module`] switch between training (soft masks, as long as the mask parameters are
/// trainable) and evaluation (hard masks, ablated if an ablation is set). A model that is built on a device without
/// autodiff starts in evaluation.
///
/// # Sharing
/// Temperature, ablation with its draws, on/off, seed and noise live in one handle that all clones share, the copies
/// that `valid()` and `train()` make included. The mask parameters are each copy's own.
#[derive(Module, Debug)]
pub struct CircuitModel<M: Module> {
    pub(crate) wrapped_model: M,
    pub(crate) training: Param<Flag>,
    #[module(skip)]
    pub(crate) config: Arc<CircuitConfig>,
    #[module(skip)]
    pub(crate) control: Arc<Control>,
}

/// A masked layer, in Hugging Face's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedLayer {
    /// Name of the layer.
    pub name: String,
    /// Kind of the layer.
    pub kind: LayerKind,
    /// Shape of its weight.
    pub weight_shape: Vec<usize>,
    /// Shape of the weight's mask parameters; broadcasts to the weight's.
    pub weight_mask_shape: Vec<usize>,
    /// Shape of the bias and of its mask parameters; `None` when the bias is not masked.
    pub bias_mask_shape: Option<Vec<usize>>,
}

impl MaskedLayer {
    /// Whether the layer's bias is masked.
    pub fn has_bias_mask(&self) -> bool {
        self.bias_mask_shape.is_some()
    }
}

impl<M: Module> CircuitModel<M> {
    /// Freezes `base` if the configuration says so, and puts masks on the layers that `config.target_layers` names
    /// among `targets`. No target layers is fine: the model is then the base.
    ///
    /// `config.ablation` is what evaluation mode starts with; training runs without it. (In the reference such a model
    /// cannot be trained.) A layer without a bias gets no bias mask and a warning.
    ///
    /// # Errors
    /// What [`CircuitConfig::validate`] finds; [`CircuitError::UnknownLayer`], [`CircuitError::DuplicateLayer`],
    /// [`CircuitError::SharedParameter`], [`CircuitError::ParameterNotFound`], [`CircuitError::RankMismatch`] and
    /// [`CircuitError::AlreadyReparameterized`] for layers that cannot be masked.
    pub fn new(config: CircuitConfig, base: M, targets: &[MaskTarget]) -> Result<Self, CircuitError> {
        Self::with_constants(config, base, targets, HardConcrete::default())
    }

    /// [`new`](Self::new) with other constants of the hard concrete distribution, for golden cases.
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

    /// The configuration that the model was built from.
    pub fn config(&self) -> &CircuitConfig {
        &self.config
    }

    /// The masked model, ready to run.
    ///
    /// # Errors
    /// [`CircuitError::AblationWhileTraining`] when an ablation was set (by a copy in evaluation mode) and this copy is
    /// in training; [`CircuitError::ComplementTooSmall`] when the configured ablation has to be drawn now and cannot.
    pub fn model(&self) -> Result<&M, CircuitError> {
        if self.is_training() {
            self.check_not_ablated()?;
        } else {
            self.sample_missing()?;
        }
        Ok(&self.wrapped_model)
    }

    /// The masked model, without the checks of [`model`](Self::model): training ignores an ablation, and a sampled
    /// ablation that cannot be drawn is logged as an error and left out.
    pub fn wrapped(&self) -> &M {
        self.sample_or_report();
        &self.wrapped_model
    }

    /// The circuit as a plain module: hard masks with the ablation in force baked in, nothing left of the masks.
    ///
    /// The result is in evaluation mode; its `train()` gives a trainable copy, frozen where the base was.
    pub fn materialize_circuit(&self) -> M {
        let plain = self.wrapped_model.valid();
        if self.is_training() {
            // A training copy has no draws of its own; its valid() copy does.
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

    /// The base as a plain module in evaluation mode, bit for bit. Cheap: the weights are shared, not copied.
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

    /// The temperature of continuous sparsification. 1 at first.
    pub fn temperature(&self) -> f32 {
        self.control.state().temperature
    }

    /// Sets the temperature, which only continuous sparsification uses.
    ///
    /// # Errors
    /// [`CircuitError::InvalidTemperature`] unless it is finite and at least 0.
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

    /// Sets the ablation of evaluation mode, in place of the configured one, and draws what it needs.
    ///
    /// Draws are kept until [`resample`](Self::resample), [`set_sample`](Self::set_sample) or the next ablation.
    ///
    /// # Errors
    /// [`CircuitError::AblationWhileTraining`] in training mode, unless it is [`Ablation::None`];
    /// [`CircuitError::ComplementTooSmall`]. The ablation is then unchanged.
    pub fn set_ablation(&self, ablation: Ablation) -> Result<(), CircuitError> {
        if self.is_training() && ablation != Ablation::None {
            return Err(CircuitError::AblationWhileTraining { ablation });
        }
        let sample = self.control.state().sample;
        self.resample_as(ablation, sample)?;
        self.control.state().ablation_is_configured = false;
        Ok(())
    }

    /// Takes the next draw of `randomly_sampled`, `complement_sampled` and `random_ablate`.
    ///
    /// # Errors
    /// [`CircuitError::ComplementTooSmall`]; the old draw is then kept.
    pub fn resample(&self) -> Result<(), CircuitError> {
        let next = self.control.state().sample.wrapping_add(1);
        self.set_sample(next)
    }

    /// Chooses the draw by number: the same seed, masks and number give the same draw. 0 at first.
    ///
    /// # Errors
    /// [`CircuitError::ComplementTooSmall`]; the old draw is then kept.
    pub fn set_sample(&self, index: u64) -> Result<(), CircuitError> {
        self.resample_as(self.ablation(), index)
    }

    /// Turns all masks on or off. Off, the model is the base bit for bit.
    pub fn use_masks(&self, on: bool) {
        for param in &mut self.control.state().masked {
            param.on = on;
        }
    }

    /// Turns the masks of some layers on or off. Leading `wrapped_model.` in names are ignored.
    ///
    /// # Errors
    /// [`CircuitError::UnknownLayer`] for a layer without masks; nothing is switched then.
    pub fn use_masks_of(&self, on: bool, names: &[&str]) -> Result<(), CircuitError> {
        let masked = &self.control.masked;
        for name in names {
            let name = names::unwrapped(name);
            if !masked.iter().any(|param| param.layer == name) {
                return Err(CircuitError::UnknownLayer {
                    asked: name.to_string(),
                    nearest: names::nearest(name, weights(masked).map(|s| s.layer.as_str())),
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

    /// Sets the seed of all draws. 0 at first. An ablation that is drawn already is kept, see
    /// [`resample`](Self::resample).
    pub fn set_seed(&self, seed: u64) {
        self.control.state().seed = seed;
        self.control.forget_noise();
    }

    /// Says which step of training comes next. Hard concrete noise is a function of (seed, layer, weight or bias, epoch,
    /// step), so every read of a parameter within a step sees one mask. Both 0 at first.
    pub fn begin_step(&self, epoch: u64, step: u64) {
        {
            let mut state = self.control.state();
            state.epoch = epoch;
            state.step = step;
        }
        self.control.forget_noise();
    }

    /// Replaces the noise `u` of hard concrete masks, until `None` brings the draws back.
    ///
    /// Keys are `<layer>.weight` and `<layer>.bias`, shapes those of the mask parameters in Hugging Face's layout.
    /// Values are kept within `[1e-4, 1 − 1e-4]`. Parameters that are not named go on drawing.
    ///
    /// # Errors
    /// [`CircuitError::NoiseUnused`] with another method; [`CircuitError::UnexpectedTensor`],
    /// [`CircuitError::ShapeMismatch`] and [`CircuitError::InvalidValues`] for tensors that do not fit.
    pub fn inject_noise(&self, noise: Option<BTreeMap<String, TensorData>>) -> Result<(), CircuitError> {
        let masked = &self.control.masked;
        let mut injected = vec![None; masked.len()];
        if let Some(noise) = noise {
            if !matches!(self.control.method, Method::HardConcrete(_)) {
                return Err(CircuitError::NoiseUnused { method: self.control.method.name() });
            }
            let keys: Vec<String> = masked.iter().map(MaskedParam::key).collect();
            for (name, data) in &noise {
                let i = names::position(&keys, name)?;
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

    /// The circuit's size by its hard masks without ablation, in any mode.
    pub fn l0(&self) -> L0Statistics {
        l0::statistics(&self.control, &self.snapshots())
    }

    /// The L0 of training, summed over all masks: shape `[1]`, differentiable. For magnitude pruning the mask's sum.
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

    /// What to add to the task's loss: `l0_lambda · L0`, shape `[1]`. `None` in evaluation mode, without `add_l0`, and
    /// without masks.
    pub fn l0_loss(&self) -> Option<Tensor<1>> {
        let wanted = self.is_training() && self.config.add_l0 && !self.control.masked.is_empty();
        wanted.then(|| self.l0_training().mul_scalar(self.config.l0_lambda))
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

    /// The masks' own parameters, without the base that they lie on: what a checkpoint of a frozen model needs to hold.
    pub fn mask_parameters(&self) -> ParamGroup {
        ParamGroup::from_predicate(format!(".{}.", crate::mask::MASK))
    }

    pub(crate) fn snapshots(&self) -> Vec<MaskSnapshot> {
        snapshots(&self.wrapped_model, &self.control)
    }
}

fn weights(masked: &[MaskedParam]) -> impl Iterator<Item = &MaskedParam> {
    masked.iter().filter(|param| param.role == Role::Weight)
}

#[cfg(test)]
mod tests;
