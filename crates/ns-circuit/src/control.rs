//! The one handle that all masks of a circuit share: temperature, ablation, on and off, noise.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};

use crate::ablation::Ablation;
use crate::kernels::{L0Handoff, masked};
use crate::layout::MaskedParam;
use crate::methods::{Method, continuous_sparsification, hard_concrete};

/// Shared by every mask of a [`CircuitModel`](crate::CircuitModel) and by the model's clones.
pub(crate) struct Control {
    /// The masked parameters, layer by layer, weight before bias.
    pub(crate) masked: Vec<MaskedParam>,
    /// Slots by the parameter's path.
    by_path: BTreeMap<String, usize>,
    /// How masks are made.
    pub(crate) method: Method,
    /// One per masked parameter, between its mask and its L0 term.
    pub(crate) l0_handoffs: Vec<L0Handoff>,
    state: Mutex<State>,
}

/// What can be changed through `&self`.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) temperature: f32,
    pub(crate) ablation: Ablation,
    /// Whether the ablation is still the configuration's, which training ignores.
    pub(crate) ablation_is_configured: bool,
    /// Number of the draw of sampled ablations.
    pub(crate) sample: u64,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    pub(crate) step: u64,
    pub(crate) masked: Vec<MaskedParamState>,
}

/// The changeable part of one masked parameter. Tensors are flat, in storage order, and record no gradients.
#[derive(Debug, Clone)]
pub(crate) struct MaskedParamState {
    /// Whether the mask is in use.
    pub(crate) on: bool,
    /// What the ablation in force has sampled: a mask, or new values of the parameter.
    pub(crate) sampled: Option<Tensor<1>>,
    /// Noise given from outside, as log-odds.
    pub(crate) injected: Option<Vec<f32>>,
    /// The noise of the present step, as log-odds.
    noise: Option<Tensor<1>>,
}

/// Where a mask comes from: what one parameter knows of itself.
pub(crate) struct MaskInputs<'a> {
    /// The mask parameters, `[n]` in storage order; `None` for magnitude pruning.
    pub(crate) logits: Option<Tensor<1>>,
    /// Whether the mask's training flag is enabled.
    pub(crate) training: bool,
    /// The parameter's device.
    pub(crate) device: Device,
    /// The two masks of magnitude pruning.
    pub(crate) pruned: &'a dyn Fn() -> PrunedMasks,
}

/// [`Pruned`](crate::methods::magnitude_pruning::Pruned) on a device.
#[derive(Debug, Clone)]
pub(crate) struct PrunedMasks {
    pub(crate) hard: Tensor<1>,
    pub(crate) ablated: Tensor<1>,
}

impl Control {
    pub(crate) fn new(masked: Vec<MaskedParam>, method: Method, ablation: Ablation) -> Self {
        let by_path = masked.iter().enumerate().map(|(i, param)| (param.path.clone(), i)).collect();
        let off = MaskedParamState { on: true, sampled: None, injected: None, noise: None };
        let state = State {
            temperature: 1.0,
            ablation,
            ablation_is_configured: true,
            sample: 0,
            seed: 0,
            epoch: 0,
            step: 0,
            masked: vec![off; masked.len()],
        };
        let l0_handoffs = masked.iter().map(|_| L0Handoff::default()).collect();
        Self { masked, by_path, method, l0_handoffs, state: Mutex::new(state) }
    }

    /// Index of the masked parameter at `path`.
    pub(crate) fn param_at(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// The state. A panic elsewhere cannot leave it half-written, so poison is ignored.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the noise of the present step, after something that it depends on has changed.
    pub(crate) fn forget_noise(&self) {
        for param in &mut self.state().masked {
            param.noise = None;
        }
    }

    /// Forgets what the ablation in force has sampled.
    pub(crate) fn forget_samples(&self) {
        for param in &mut self.state().masked {
            param.sampled = None;
        }
    }

    /// The mask in force, `[n]` with n the mask's size; `None` when masks are off.
    ///
    /// Soft in training as long as the logits are trainable; otherwise hard, and ablated in evaluation mode. A sampled
    /// ablation that has sampled nothing yet counts as none: the callers that may fail draw first.
    pub(crate) fn mask(&self, index: usize, inputs: &MaskInputs<'_>) -> Option<Tensor<1>> {
        let (ablation, sampled) = {
            let state = self.state();
            let param = &state.masked[index];
            if !param.on {
                return None;
            }
            match inputs.training {
                true => (Ablation::None, None),
                false => (state.ablation, param.sampled.clone()),
            }
        };
        if let Some(logits) = trainable_logits(inputs) {
            return Some(self.soft_mask(index, logits, &inputs.device));
        }
        Some(match ablation {
            Ablation::None => self.hard_mask(inputs),
            Ablation::ZeroAblate | Ablation::RandomAblate => match inputs.logits {
                Some(_) => self.hard_mask(inputs).neg().add_scalar(1.0),
                None => (inputs.pruned)().ablated,
            },
            Ablation::RandomlySampled | Ablation::ComplementSampled => match sampled {
                Some(mask) => on_device(mask, &inputs.device),
                None => self.hard_mask(inputs),
            },
        })
    }

    /// The effective parameter `w ⊙ m` of training, where the mask is soft and the parameter of the logits' type; `None`
    /// elsewhere, and when masks are off.
    pub(crate) fn soft_masked<const D: usize>(
        &self,
        index: usize,
        inputs: &MaskInputs<'_>,
        base: &Tensor<D>,
    ) -> Option<Tensor<D>> {
        let logits = trainable_logits(inputs).filter(|logits| logits.dtype() == base.dtype())?;
        if !self.state().masked[index].on {
            return None;
        }
        let (relaxation, noise) = match &self.method {
            Method::HardConcrete(concrete) => (concrete.relaxation(), Some(self.noise(index, &inputs.device))),
            Method::ContinuousSparsification | Method::MagnitudePruning { .. } => {
                (continuous_sparsification::relaxation(self.state().temperature), None)
            }
        };
        let broadcast = self.masked[index].mask_broadcast();
        Some(masked(base.clone(), logits, noise, relaxation, broadcast, &self.l0_handoffs[index]))
    }

    /// The hard mask of the circuit itself, whatever the mode and the ablation.
    pub(crate) fn hard_mask(&self, inputs: &MaskInputs<'_>) -> Tensor<1> {
        match (&self.method, &inputs.logits) {
            (Method::ContinuousSparsification, Some(logits)) => {
                continuous_sparsification::hard_mask(logits.clone().without_autodiff())
            }
            (Method::HardConcrete(concrete), Some(logits)) => concrete.hard_mask(logits.clone().without_autodiff()),
            (Method::MagnitudePruning { .. }, _) | (_, None) => (inputs.pruned)().hard,
        }
    }

    /// The new values that `random_ablate` puts in the circuit's place, if it is in force.
    pub(crate) fn refill(&self, index: usize, inputs: &MaskInputs<'_>) -> Option<Tensor<1>> {
        let state = self.state();
        if inputs.training || state.ablation != Ablation::RandomAblate {
            return None;
        }
        let sampled = state.masked[index].sampled.clone()?;
        Some(on_device(sampled, &inputs.device))
    }

    fn soft_mask(&self, index: usize, logits: Tensor<1>, device: &Device) -> Tensor<1> {
        match &self.method {
            Method::HardConcrete(concrete) => concrete.soft_mask(logits, self.noise(index, device)),
            Method::ContinuousSparsification | Method::MagnitudePruning { .. } => {
                let temperature = self.state().temperature;
                continuous_sparsification::soft_mask(logits, temperature)
            }
        }
    }

    /// The noise of the present step: injected, or sampled from (seed, parameter, epoch, step). One step has one noise,
    /// however often the parameter is read.
    fn noise(&self, index: usize, device: &Device) -> Tensor<1> {
        let mut state = self.state();
        let (seed, epoch, step) = (state.seed, state.epoch, state.step);
        let entry = &mut state.masked[index];
        if let Some(noise) = &entry.noise
            && noise.device() == *device
        {
            return noise.clone();
        }
        let values = entry.injected.clone().unwrap_or_else(|| {
            let label = format!("noise/{}", self.masked[index].key());
            hard_concrete::draw_noise((seed, &label, epoch, step), self.masked[index].mask_len())
        });
        let noise = flat(values, device);
        entry.noise = Some(noise.clone());
        noise
    }
}

/// The logits of a mask that is being learned.
fn trainable_logits(inputs: &MaskInputs<'_>) -> Option<Tensor<1>> {
    inputs.logits.clone().filter(|logits| inputs.training && logits.is_require_grad())
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("method", &self.method.name())
            .field("masks", &self.masked.len())
            .finish_non_exhaustive()
    }
}

/// A tensor without gradients of `values` beside the tensors of `device`.
pub(crate) fn flat(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), &device.clone().without_autodiff())
}

fn on_device(tensor: Tensor<1>, device: &Device) -> Tensor<1> {
    if tensor.device() == *device { tensor } else { tensor.to_device(&device.clone().without_autodiff()) }
}
