//! Kernels for the elementwise work of a training step: masks on weights, L0, AdamW.
//!
//! With Burn's own operations, every operator in a formula is one pass over millions of logits. So this module is a
//! backend extension with two implementations: `portable.rs` uses Burn's operations and serves every backend;
//! `kernels.rs` (with the arithmetic in `slices.rs`) needs one pass on the CPU backend `flex`. `autodiff.rs`
//! differentiates both. This folder is the only place in the crate that names backends.
// Burn marks the backend `NdArray` as deprecated, and the macro of the extension names it.
#![cfg_attr(feature = "ndarray", allow(deprecated))]

mod autodiff;
#[cfg(feature = "flex")]
#[allow(clippy::module_inception)] // the workspace's name for files that name a backend
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

/// The continuous relaxation of a hard mask: the formulas of the soft mask and of the gate, for logits `s`.
///
/// The sum of the gates over all logits is the L0 of the mask, its soft number of open gates.
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

/// How a mask broadcasts over its parameter: the parameter is `[outer, repeat, inner]`, the mask `[outer, 1, inner]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaskBroadcast {
    pub(crate) outer: usize,
    pub(crate) repeat: usize,
    pub(crate) inner: usize,
}

impl MaskBroadcast {
    /// Number of mask entries.
    fn mask_len(self) -> usize {
        self.outer * self.inner
    }
}

/// The constants of one AdamW step, equal for all entries of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AdamWStep {
    /// `β₁, β₂`
    pub(crate) betas: [f32; 2],
    /// Bias corrections `1 − β₁ᵗ, 1 − β₂ᵗ` at step t.
    pub(crate) corrections: [f32; 2],
    /// `ε`
    pub(crate) epsilon: f32,
    /// Learning rate.
    pub(crate) learning_rate: f32,
    /// Factor of weight decay on the parameter: `1 − learning rate · weight decay`.
    pub(crate) kept: f32,
}

/// The soft mask `m(s)` with Burn's operations. Shapes: logits, noise and result `[n]`.
pub(crate) fn soft_mask(logits: Tensor<1>, noise: Option<Tensor<1>>, relaxation: Relaxation) -> Tensor<1> {
    let noise = noise.unwrap_or_else(|| Tensor::zeros([0], &logits.device()));
    let mask = portable::soft_mask::<Dispatch>(logits.into_dispatch(), noise.into_dispatch(), relaxation);
    Tensor::from_dispatch(mask)
}

/// The effective parameter `w ⊙ m(s)` under a soft mask.
///
/// The kernel also computes the sum of the open gates and stores it in `handoff` for [`open_gates`].
///
/// # Shapes
/// - parameter and output: any shape with `outer · repeat · inner` entries of `broadcast`
/// - logits and noise: `[n]` with n the number of mask entries
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

/// The sum of the open gates over all logits, shape `[1]`.
///
/// If this sum and [`masked`] share a `handoff`, one backward kernel computes the gradients of both.
pub(crate) fn open_gates(logits: Tensor<1>, relaxation: Relaxation, handoff: &L0Handoff) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as MaskKernels>::open_gates(logits.into_dispatch(), relaxation, handoff.clone()))
}

/// The parameter and its moments after one AdamW step. No gradients are recorded.
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

/// The kernels on the tensors of a backend. Noise and the gradient of the open gates are optional: a tensor without
/// elements means that there is none.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda"))
)]
pub(crate) trait MaskKernels: Backend {
    /// The effective parameter `w ⊙ m(s)`.
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

    /// The effective parameter `w ⊙ m(s)` and the sum of the open gates, `[1]`.
    fn masked_and_counted(
        parameter: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        relaxation: Relaxation,
        broadcast: MaskBroadcast,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        portable::masked_and_counted::<Self>(parameter, logits, noise, relaxation, broadcast)
    }

    /// The gradient of the logits, `[n]`, from `gradient` of the effective parameter and `gates_gradient`, the gradient
    /// of the sum of the open gates, `[1]` or `[0]`.
    fn masked_backward(
        parameter: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        gates_gradient: FloatTensor<Self>,
        relaxation: Relaxation,
        broadcast: MaskBroadcast,
    ) -> FloatTensor<Self> {
        portable::masked_backward::<Self>(parameter, logits, noise, gradient, gates_gradient, relaxation, broadcast)
    }

    /// The sum of the open gates, `[1]`.
    fn open_gates(logits: FloatTensor<Self>, relaxation: Relaxation, handoff: L0Handoff) -> FloatTensor<Self> {
        let _ = handoff;
        portable::open_gates::<Self>(logits, relaxation)
    }

    /// The gradient of the logits, `[n]`, from `gradient` of the sum of the open gates, `[1]`.
    fn open_gates_backward(
        logits: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        relaxation: Relaxation,
    ) -> FloatTensor<Self> {
        portable::open_gates_backward::<Self>(logits, gradient, relaxation)
    }

    /// The parameter and its first and second moment after one AdamW step.
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
