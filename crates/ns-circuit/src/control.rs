//! State shared by all masks of a circuit: temperature, ablation, on/off switches and noise.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};

use crate::ablation::Ablation;
use crate::kernels::{L0Handoff, masked};
use crate::layout::MaskedParam;
use crate::methods::{Method, continuous_sparsification, hard_concrete};

/// State shared by every mask of a [`CircuitModel`](crate::CircuitModel) and by the model's clones.
pub(crate) struct Control {
    /// The masked parameters, in the order of the target layers, each weight before its bias.
    pub(crate) masked: Vec<MaskedParam>,
    /// Indices into `masked`, by parameter path.
    by_path: BTreeMap<String, usize>,
    /// The mask method.
    pub(crate) method: Method,
    /// One handoff per masked parameter, between its effective weight and its L0 term.
    pub(crate) l0_handoffs: Vec<L0Handoff>,
    state: Mutex<State>,
}

/// The part of [`Control`] that can be changed through `&self`.
#[derive(Debug)]
pub(crate) struct State {
    /// The temperature of continuous sparsification.
    pub(crate) temperature: f32,
    /// The ablation of evaluation mode.
    pub(crate) ablation: Ablation,
    /// Whether `ablation` still comes from the configuration. Training ignores a configured ablation.
    pub(crate) ablation_is_configured: bool,
    /// Sample number of the sampled ablations.
    pub(crate) sample: u64,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    pub(crate) step: u64,
    pub(crate) masked: Vec<MaskedParamState>,
}

/// The mutable state of one masked parameter. Tensors are flat, in storage order, and without gradients.
#[derive(Debug, Clone)]
pub(crate) struct MaskedParamState {
    /// Whether the mask is on.
    pub(crate) on: bool,
    /// The sample of the active ablation: a mask, or new values of the parameter.
    pub(crate) sampled: Option<Tensor<1>>,
    /// Injected noise, as log-odds.
    pub(crate) injected: Option<Vec<f32>>,
    /// Cached noise of the current step, as log-odds.
    noise: Option<Tensor<1>>,
}

/// The inputs from which the mask of one parameter is computed.
pub(crate) struct MaskInputs<'a> {
    /// The mask parameters, `[n]` in storage order; `None` for magnitude pruning.
    pub(crate) logits: Option<Tensor<1>>,
    /// Whether the mask's training flag is enabled.
    pub(crate) training: bool,
    /// Device of the parameter.
    pub(crate) device: Device,
    /// Returns the two masks of magnitude pruning.
    pub(crate) pruned: &'a dyn Fn() -> PrunedMasks,
}

/// The two masks of [`Pruned`](crate::methods::magnitude_pruning::Pruned) as tensors.
#[derive(Debug, Clone)]
pub(crate) struct PrunedMasks {
    /// The hard mask, `[n]`.
    pub(crate) hard: Tensor<1>,
    /// The mask under `zero_ablate`, `[n]`.
    pub(crate) ablated: Tensor<1>,
}

impl Control {
    pub(crate) fn new(masked: Vec<MaskedParam>, method: Method, ablation: Ablation) -> Self {
        let by_path = masked.iter().enumerate().map(|(i, param)| (param.path.clone(), i)).collect();
        let initial = MaskedParamState { on: true, sampled: None, injected: None, noise: None };
        let state = State {
            temperature: 1.0,
            ablation,
            ablation_is_configured: true,
            sample: 0,
            seed: 0,
            epoch: 0,
            step: 0,
            masked: vec![initial; masked.len()],
        };
        let l0_handoffs = masked.iter().map(|_| L0Handoff::default()).collect();
        Self { masked, by_path, method, l0_handoffs, state: Mutex::new(state) }
    }

    /// Index of the masked parameter at `path`.
    pub(crate) fn param_at(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// Locks the state. A panic in another thread cannot leave it half-written, so lock poisoning is ignored.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears the cached noise. Call this after a change of anything that the noise depends on.
    pub(crate) fn forget_noise(&self) {
        for param in &mut self.state().masked {
            param.noise = None;
        }
    }

    /// Clears the samples of the active ablation.
    pub(crate) fn forget_samples(&self) {
        for param in &mut self.state().masked {
            param.sampled = None;
        }
    }

    /// The active mask, `[n]` with n the number of mask entries; `None` if the mask is off.
    ///
    /// The mask is soft in training mode if the logits are trainable. Otherwise it is hard, and in evaluation mode the
    /// ablation applies to it. A sampled ablation without a sample has no effect here, so callers that can return an
    /// error must sample first.
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

    /// The effective parameter `w ⊙ m` under a soft mask, in one kernel. Returns `None` if the mask is hard or off, or
    /// if the parameter and the logits have different dtypes.
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

    /// The hard mask of the circuit, `[n]`. It does not depend on the mode or the ablation.
    pub(crate) fn hard_mask(&self, inputs: &MaskInputs<'_>) -> Tensor<1> {
        match (&self.method, &inputs.logits) {
            (Method::ContinuousSparsification, Some(logits)) => {
                continuous_sparsification::hard_mask(logits.clone().without_autodiff())
            }
            (Method::HardConcrete(concrete), Some(logits)) => concrete.hard_mask(logits.clone().without_autodiff()),
            (Method::MagnitudePruning { .. }, _) | (_, None) => (inputs.pruned)().hard,
        }
    }

    /// The flat parameter values that replace the circuit under `random_ablate`. Returns `None` in training mode, under
    /// other ablations, and if nothing has been sampled yet.
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

    /// The noise of the current step, `[n]`: injected, or sampled from (seed, parameter, epoch, step). It is cached, so
    /// every read of the parameter within a step sees the same noise.
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
            hard_concrete::sample_noise((seed, &label, epoch, step), self.masked[index].mask_len())
        });
        let noise = flat(values, device);
        entry.noise = Some(noise.clone());
        noise
    }
}

/// The logits, if the mask is in training mode and they are trainable.
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

/// A 1-d tensor of `values` on `device`, without gradients.
pub(crate) fn flat(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), &device.clone().without_autodiff())
}

fn on_device(tensor: Tensor<1>, device: &Device) -> Tensor<1> {
    if tensor.device() == *device { tensor } else { tensor.to_device(&device.clone().without_autodiff()) }
}
