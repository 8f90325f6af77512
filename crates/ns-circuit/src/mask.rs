//! The mask on one parameter, as a Burn reparameterization (the only one in this workspace).

use std::sync::{Arc, OnceLock};

use burn::module::{Flag, Module, Param, Reparameterization};
use burn::tensor::{Device, Shape, Tensor, TensorData};

use crate::ablation::{Ablation, ModelVariant};
use crate::derived::Derived;
use crate::error::CircuitError;
use crate::kernels::{L0Handoff, masked};
use crate::layout::ParamLayout;
use crate::methods::Method;
use crate::methods::magnitude_pruning::Pruned;
use crate::sample;

/// Settings of a circuit model that are equal for all of its masks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The temperature of continuous sparsification.
    pub(crate) temperature: f32,
    /// What the model runs. Training ignores a configured ablation.
    pub(crate) variant: ModelVariant,
    /// Whether the variant is still that of the configuration.
    pub(crate) is_configured: bool,
    /// Sample number of the sampled ablations.
    pub(crate) sample: u64,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    pub(crate) step: u64,
}

/// A mask on one parameter: it turns the base weight `w` into the effective weight `w ⊙ m`. Under `random_ablate`, new
/// values replace the removed entries.
///
/// `valid()` and `train()` switch the training flag. A clone shares no setting with the original.
#[derive(Module, Debug)]
pub(crate) struct Mask {
    /// The logits `[n]`, in the storage order of the parameter; `None` for magnitude pruning.
    pub(crate) params: Option<Param<Tensor<1>>>,
    /// Whether the mask is in training mode.
    training: Param<Flag>,
    /// The masks of magnitude pruning, once computed.
    pruned: Derived<PrunedMasks>,
    /// Names and shapes of the parameter.
    #[module(skip)]
    pub(crate) layout: Arc<ParamLayout>,
    #[module(skip)]
    pub(crate) method: Method,
    #[module(skip)]
    pub(crate) settings: Settings,
    /// Whether the mask is on.
    #[module(skip)]
    pub(crate) on: bool,
    /// Injected noise, as log-odds.
    #[module(skip)]
    injected: Option<Arc<[f32]>>,
    /// The noise of the current step, as log-odds.
    #[module(skip)]
    noise: OnceLock<Tensor<1>>,
    /// The sample of the active ablation: a mask, or new values of the parameter. Flat, in storage order.
    sampled: Derived<Tensor<1>>,
    /// The sample in a copy that is attached to a parameter. The copy keeps it, because nothing samples again there.
    #[module(skip)]
    attached_sample: Option<Tensor<1>>,
    /// Connects the effective parameter and the L0 term.
    #[module(skip)]
    handoff: OwnHandoff,
}

/// The handoff of a mask. A clone of the mask gets a handoff of its own.
#[derive(Debug, Default)]
struct OwnHandoff(L0Handoff);

impl Clone for OwnHandoff {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Reparameterization for Mask {
    const NAME: &'static str = "mask";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        self.prune(&base);
        if let Some(masked) = self.soft_masked(&base) {
            return masked;
        }
        let Some(mask) = self.active() else {
            return base;
        };
        let mask = shaped(mask, &self.layout.mask_shape, &base);
        match self.refill() {
            None => base * mask,
            Some(values) => {
                let values = shaped(values, &self.layout.shape, &base);
                let removed = mask.clone().neg().add_scalar(1.0);
                base * mask + values * removed
            }
        }
    }
}

impl Mask {
    /// A mask that is on. `initial_logit` is `None` for a method without logits.
    pub(crate) fn new(
        layout: ParamLayout,
        method: Method,
        initial_logit: Option<f32>,
        training: bool,
        settings: Settings,
        device: &Device,
    ) -> Self {
        let n = layout.mask_len();
        Self {
            params: initial_logit.map(|logit| Param::from_tensor(Tensor::full([n], logit, device))),
            training: new_flag(training),
            pruned: Derived::default(),
            layout: Arc::new(layout),
            method,
            settings,
            on: true,
            injected: None,
            noise: OnceLock::new(),
            sampled: Derived::default(),
            attached_sample: None,
            handoff: OwnHandoff::default(),
        }
    }

    /// A copy to attach to the parameter. Its effective parameter and the L0 term of this mask share a handoff.
    pub(crate) fn attachable(&self) -> Self {
        let attached_sample = self.sampled.get().cloned();
        Self { handoff: OwnHandoff(self.handoff.0.clone()), attached_sample, ..self.clone() }
    }

    /// Whether the training flag is enabled.
    pub(crate) fn is_training(&self) -> bool {
        self.training.is_enabled()
    }

    /// The logits, as the leaf tensor that gradients are recorded for; `None` for magnitude pruning.
    pub(crate) fn logits(&self) -> Option<Tensor<1>> {
        self.params.as_ref().map(Param::val)
    }

    /// Device of the mask.
    fn device(&self) -> Device {
        match &self.params {
            Some(params) => params.lazy_device(),
            None => self.pruned_masks().hard.device(),
        }
    }

    /// The logits, if the mask is in training mode and they are trainable. Then the mask is soft.
    fn trainable_logits(&self) -> Option<Tensor<1>> {
        self.logits().filter(|logits| self.is_training() && logits.is_require_grad())
    }

    /// Whether the mask has an effect: it is on, and the model runs with masks.
    fn is_on(&self) -> bool {
        self.on && self.settings.variant != ModelVariant::WholeModel
    }

    /// The ablation that applies in the current mode.
    fn ablation(&self) -> Option<Ablation> {
        match self.settings.variant {
            ModelVariant::Ablated(ablation) if !self.is_training() => Some(ablation),
            _ => None,
        }
    }

    /// The active mask, `[n]` with n the number of mask entries; `None` if the mask is off or the whole model runs.
    ///
    /// The mask is soft in training mode if the logits are trainable. Otherwise it is hard, and in evaluation mode the
    /// ablation applies to it. A sampled ablation without a [sample](Self::sample) has no effect.
    pub(crate) fn active(&self) -> Option<Tensor<1>> {
        if !self.is_on() {
            return None;
        }
        if let Some(logits) = self.trainable_logits() {
            let noise = self.method.uses_noise().then(|| self.noise());
            return Some(self.method.soft_mask(logits, noise, self.settings.temperature));
        }
        Some(match self.ablation() {
            None => self.hard(),
            Some(Ablation::ZeroAblate | Ablation::RandomAblate) => match &self.params {
                Some(_) => self.hard().neg().add_scalar(1.0),
                None => self.pruned_masks().ablated,
            },
            Some(Ablation::RandomlySampled | Ablation::ComplementSampled) => match self.current_sample() {
                Some(mask) => on_device(mask.clone(), &self.device()),
                None => self.hard(),
            },
        })
    }

    /// The effective parameter under a soft mask, in one kernel. Returns `None` if the mask is hard or off, if the
    /// method has no kernel, and if the parameter and the logits have different dtypes.
    fn soft_masked<const D: usize>(&self, base: &Tensor<D>) -> Option<Tensor<D>> {
        let logits = self.trainable_logits().filter(|logits| self.is_on() && logits.dtype() == base.dtype())?;
        let relaxation = self.method.relaxation(self.settings.temperature)?;
        let noise = self.method.uses_noise().then(|| self.noise());
        Some(masked(base.clone(), logits, noise, relaxation, self.layout.mask_broadcast(), &self.handoff.0))
    }

    /// The differentiable training L0, `[1]`; `None` for a method without logits.
    pub(crate) fn soft_l0(&self, logits: Tensor<1>) -> Option<Tensor<1>> {
        self.method.l0(logits, self.settings.temperature, self.layout.repeat(), &self.handoff.0)
    }

    /// The hard mask of the circuit, `[n]`. It does not depend on the mode or the ablation. For magnitude pruning,
    /// [`prune`](Self::prune) must run first.
    pub(crate) fn hard(&self) -> Tensor<1> {
        match self.logits() {
            Some(logits) => self.method.hard_mask(logits.without_autodiff()),
            None => self.pruned_masks().hard,
        }
    }

    /// The values that replace the circuit under `random_ablate`, flat. Returns `None` in training mode, under other
    /// ablations, and if nothing has been sampled yet.
    fn refill(&self) -> Option<Tensor<1>> {
        let sampled = self.current_sample().filter(|_| self.ablation() == Some(Ablation::RandomAblate))?;
        Some(on_device(sampled.clone(), &self.device()))
    }

    /// The sample of the active ablation, if there is one.
    fn current_sample(&self) -> Option<&Tensor<1>> {
        self.attached_sample.as_ref().or(self.sampled.get())
    }

    /// The noise of the current step, `[n]`: injected, or sampled from (seed, parameter, epoch, step).
    pub(crate) fn noise(&self) -> Tensor<1> {
        let device = self.device();
        let Settings { seed, epoch, step, .. } = self.settings;
        let values = || match &self.injected {
            Some(injected) => injected.to_vec(),
            None => {
                let label = format!("noise/{}", self.layout.key());
                self.method.sample_noise((seed, &label, epoch, step), self.layout.mask_len())
            }
        };
        on_device(self.noise.get_or_init(|| flat(values(), &device)).clone(), &device)
    }

    /// Whether a forward pass in the current mode reads the noise.
    pub(crate) fn needs_noise(&self) -> bool {
        self.is_on() && self.method.uses_noise() && self.trainable_logits().is_some()
    }

    /// Replaces the injected noise; `None` restores sampled noise.
    pub(crate) fn inject(&mut self, noise: Option<Vec<f32>>) {
        self.injected = noise.map(Arc::from);
        self.noise = OnceLock::new();
    }

    /// Changes the settings. The noise may depend on them, so it is computed again.
    pub(crate) fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.noise = OnceLock::new();
    }

    /// The values that `settings` samples for this parameter: a mask, or new values of the parameter; `None` if
    /// nothing has to be sampled.
    ///
    /// # Errors
    /// Returns [`CircuitError::ComplementTooSmall`] if `complement_sampled` finds too few entries outside the circuit.
    pub(crate) fn sample(&self, settings: Settings) -> Result<Option<Tensor<1>>, CircuitError> {
        let Settings { variant: ModelVariant::Ablated(ablation), sample, seed, .. } = settings else { return Ok(None) };
        if !(self.on && ablation.is_sampled()) {
            return Ok(None);
        }
        let values = sample::sample(ablation, &self.layout, &host(self.hard()), seed, sample)?;
        Ok(Some(flat(values, &self.device())))
    }

    /// Replaces the logits. `values` are in storage order. The sample of the ablation is cleared, because the circuit
    /// changes.
    pub(crate) fn set_logits(&mut self, values: Vec<f32>) {
        self.sampled = Derived::default();
        self.params = self.params.take().map(|params| {
            params.map(|old| {
                let data = TensorData::new(values, old.shape());
                Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
            })
        });
    }

    /// Replaces the sample of the ablation.
    pub(crate) fn set_sample(&mut self, sampled: Option<Tensor<1>>) {
        self.sampled = sampled.into();
    }

    /// Samples what the active ablation lacks. Does nothing in training mode.
    ///
    /// # Errors
    /// Returns the errors of [`sample`](Self::sample).
    pub(crate) fn sample_if_missing(&self) -> Result<(), CircuitError> {
        if self.is_training() || self.sampled.get().is_some() {
            return Ok(());
        }
        if let Some(sampled) = self.sample(self.settings)? {
            self.sampled.get_or_compute(|| sampled);
        }
        Ok(())
    }

    /// The masks of magnitude pruning. They have no entries unless [`prune`](Self::prune) was called.
    fn pruned_masks(&self) -> PrunedMasks {
        self.pruned.get().cloned().unwrap_or_else(|| {
            let empty = Tensor::zeros([0], &Device::default());
            PrunedMasks { hard: empty.clone(), ablated: empty }
        })
    }

    /// Whether [`prune`](Self::prune) must run before the mask can be read.
    pub(crate) fn lacks_pruning(&self) -> bool {
        self.params.is_none() && self.pruned.get().is_none()
    }

    /// Computes the masks of magnitude pruning from the base weight, unless they are known. Does nothing for other
    /// methods.
    pub(crate) fn prune<const D: usize>(&self, base: &Tensor<D>) {
        if self.params.is_none() {
            self.pruned.get_or_compute(|| {
                let Pruned { hard, ablated } = self.method.prune(&host(base.clone()));
                PrunedMasks { hard: flat(hard, &base.device()), ablated: flat(ablated, &base.device()) }
            });
        }
    }
}

/// The masks of magnitude pruning as tensors, `[n]`, see [`Pruned`].
#[derive(Debug, Clone)]
struct PrunedMasks {
    hard: Tensor<1>,
    ablated: Tensor<1>,
}

/// The neuron mask of a linear layer, to be multiplied with the layer's outputs.
#[derive(Debug, Clone)]
pub struct OutputMask {
    /// Name of the layer.
    pub layer: String,
    /// The active mask, `[out]`.
    pub mask: Tensor<1>,
}

/// Returns the active mask of a linear layer's weight `[in, out]`, if it can be applied to the outputs of the layer
/// instead of the weight: `x · (w ⊙ m) = (x · w) ⊙ m`.
///
/// This works for neuron masks. Returns `None` for a weight without a mask, for a mask of single weights, for a mask
/// that is off, and under [`Ablation::RandomAblate`], which also adds new weights.
///
/// With `y = (x · w) ⊙ m`, the gradient of `m` is the sum of `(x · w) ⊙ dy` over the rows of `x`, so the backward pass
/// needs no gradient of the size of the weight.
pub fn output_mask(weight: &Param<Tensor<2>>) -> Option<OutputMask> {
    let mask: &Mask = weight.reparameterization()?;
    if !mask.layout.scales_outputs() || mask.refill().is_some() {
        return None;
    }
    let base = weight.base();
    mask.prune(&base);
    let active = mask.active()?;
    Some(OutputMask { layer: mask.layout.layer.clone(), mask: shaped(active, &[mask.layout.mask_len()], &base) })
}

/// Reshapes `flat` to `shape` and casts it to the dtype of `base`.
fn shaped<const D: usize, const B: usize>(flat: Tensor<1>, shape: &[usize], base: &Tensor<B>) -> Tensor<D> {
    let tensor: Tensor<D> = flat.reshape(Shape::from(shape.to_vec()));
    if base.dtype().is_float() && base.dtype() != tensor.dtype() { tensor.cast(base.dtype()) } else { tensor }
}

/// Reads the values of a tensor to the host as `f32`, in row-major order.
///
/// # Panics
/// Panics if the device fails to execute pending operations, like every tensor read in Burn.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.to_data_as::<f32>();
    data.try_into_vec().unwrap_or_else(|error| panic!("data that was converted to f32 is not f32: {error}"))
}

/// A 1-d tensor of `values` on `device`, without gradients.
fn flat(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), &device.clone().without_autodiff())
}

fn on_device(tensor: Tensor<1>, device: &Device) -> Tensor<1> {
    let device = device.clone().without_autodiff();
    if tensor.device() == device { tensor } else { tensor.to_device(&device) }
}

/// Creates a training flag. A disabled flag is created as the flag of an evaluation copy, so that `train()` enables it.
pub(crate) fn new_flag(enabled: bool) -> Param<Flag> {
    let flag = Param::<Flag>::from_bool(true);
    if enabled { flag } else { flag.valid() }
}
