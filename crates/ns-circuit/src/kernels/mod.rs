//! The elementwise work of a training step, as kernels: masks on weights, L0, AdamW.
//!
//! Burn's own operations run over millions of logits once for each sign in a formula. A backend extension has a body
//! of them, which serves every backend (`portable.rs`), and one for the CPU backend `flex` that runs once
//! (`kernels.rs`, whose arithmetic is in `slices.rs`); `autodiff.rs` differentiates both. This folder is the only place
//! of this crate that names backends.
// Burn marks one of them as deprecated, and the extension's macro names it, too.
#![cfg_attr(feature = "ndarray", allow(deprecated))]

mod autodiff;
#[cfg(feature = "flex")]
#[allow(clippy::module_inception)] // files that name a backend are called so
mod kernels;
mod l0_handoff;
mod portable;
#[cfg(feature = "flex")]
mod slices;

#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub(crate) use self::l0_handoff::L0Handoff;

/// A mask method's continuous relaxation of its hard mask: a formula for the mask, one for the open gates that L0 counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Relaxation {
    /// Mask and gate `σ(τ s)`.
    Logistic {
        /// `τ`
        temperature: f32,
    },
    /// Mask `clamp(low + span · σ((s + noise) / T), 0, 1)`, gate `σ(s − shift)`.
    HardConcrete {
        /// `T`
        temperature: f32,
        /// `γ`
        low: f32,
        /// `ζ − γ`
        span: f32,
        /// `T ln(−γ/ζ)`
        shift: f32,
    },
}

/// Which entries of a parameter one entry of its mask covers: the parameter is `[outer, repeat, inner]`, its mask
/// `[outer, 1, inner]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaskBroadcast {
    pub(crate) outer: usize,
    pub(crate) repeat: usize,
    pub(crate) inner: usize,
}

impl MaskBroadcast {
    /// Entries of the mask.
    fn mask_len(self) -> usize {
        self.outer * self.inner
    }
}

/// One step of AdamW, the numbers that are alike for all entries of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AdamWStep {
    /// `β₁, β₂`
    pub(crate) betas: [f32; 2],
    /// `1 − β₁ᵗ, 1 − β₂ᵗ` at step t.
    pub(crate) corrections: [f32; 2],
    /// `ε`
    pub(crate) epsilon: f32,
    /// Learning rate.
    pub(crate) learning_rate: f32,
    /// What weight decay leaves of a parameter: `1 − learning rate · decay`.
    pub(crate) kept: f32,
}

/// `w ⊙ m(s)`, the effective parameter under a soft mask.
///
/// The size of the mask is found on the way and left in `handoff` for [`open_gates`].
///
/// # Shapes
/// - parameter and output: any, of `broadcast`'s size
/// - logits and noise: `[n]` with n the mask's size
pub(crate) fn masked<const D: usize>(
    parameter: Tensor<D>,
    logits: Tensor<1>,
    noise: Option<Tensor<1>>,
    relaxation: Relaxation,
    broadcast: MaskBroadcast,
    handoff: &L0Handoff,
) -> Tensor<D> {
    let device = logits.device();
    let (parameter, logits) = (parameter.into_dispatch(), logits.into_dispatch());
    let noise = noise.unwrap_or_else(|| Tensor::zeros([0], &device)).into_dispatch();
    Tensor::from_dispatch(<Dispatch as MaskKernels>::masked(
        parameter,
        logits,
        noise,
        relaxation,
        broadcast,
        handoff.clone(),
    ))
}

/// The sum of the open gates over the logits, shape `[1]`.
///
/// When both were made with the same `handoff`, the gradient of this sum is handed in together with that of [`masked`].
pub(crate) fn open_gates(logits: Tensor<1>, relaxation: Relaxation, handoff: &L0Handoff) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as MaskKernels>::open_gates(logits.into_dispatch(), relaxation, handoff.clone()))
}

/// Parameter and moments after a step of AdamW; no gradients are recorded.
pub(crate) fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let (parameter, first, second) = <Dispatch as MaskKernels>::adamw(
        parameter.into_dispatch(),
        gradient.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        step,
    );
    (Tensor::from_dispatch(parameter), [Tensor::from_dispatch(first), Tensor::from_dispatch(second)])
}

/// The operations on a backend's tensors. What may be absent, noise and the gradient of the open gates, then has no
/// elements.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda"))
)]
pub(crate) trait MaskKernels: Backend {
    /// `w ⊙ m(s)`.
    fn masked(
        parameter: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        relaxation: Relaxation,
        broadcast: MaskBroadcast,
        handoff: L0Handoff,
    ) -> FloatTensor<Self> {
        let _ = handoff;
        Self::masked_and_counted(parameter, logits, noise, relaxation, broadcast).0
    }

    /// `w ⊙ m(s)`, and the sum of the open gates, `[1]`.
    fn masked_and_counted(
        parameter: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        relaxation: Relaxation,
        broadcast: MaskBroadcast,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        portable::masked_and_counted::<Self>(parameter, logits, noise, relaxation, broadcast)
    }

    /// The gradient of the logits, `[n]`, from that of the effective parameter and that of the sum of the open gates,
    /// `[1]` or `[0]`.
    fn masked_backward(
        parameter: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        of_gates: FloatTensor<Self>,
        relaxation: Relaxation,
        broadcast: MaskBroadcast,
    ) -> FloatTensor<Self> {
        portable::masked_backward::<Self>(parameter, logits, noise, gradient, of_gates, relaxation, broadcast)
    }

    /// The sum of the open gates, `[1]`.
    fn open_gates(logits: FloatTensor<Self>, relaxation: Relaxation, handoff: L0Handoff) -> FloatTensor<Self> {
        let _ = handoff;
        portable::open_gates::<Self>(logits, relaxation)
    }

    /// The gradient of the logits, `[n]`, from that of the sum of the open gates, `[1]`.
    fn open_gates_backward(
        logits: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        relaxation: Relaxation,
    ) -> FloatTensor<Self> {
        portable::open_gates_backward::<Self>(logits, gradient, relaxation)
    }

    /// Parameter, first and second moment after a step of AdamW.
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        portable::adamw::<Self>(parameter, gradient, first, second, step)
    }
}

#[cfg(feature = "ndarray")]
impl MaskKernels for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl MaskKernels for burn::backend::Cube {}
