//! Operations that Burn's CPU backend computes number by number with the C library, as kernels of their own.
//!
//! A backend extension has a body of Burn's operations, which serves every backend (`portable.rs`), and one for the
//! CPU backend `flex` (`flex.rs`, whose arithmetic is in `slices.rs`); `autodiff.rs` differentiates both. This folder
//! is the only place of the library crates that names backends.
// Burn marks one of them as deprecated, and the extension's macro names it, too.
#![cfg_attr(feature = "ndarray", allow(deprecated))]

mod autodiff;
#[cfg(feature = "flex")]
mod flex;
mod portable;
#[cfg(feature = "flex")]
mod slices;

#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// The distribution Φ of an activation `x Φ(x)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Gate {
    /// The normal distribution, `(1 + erf(x / √2)) / 2`: exact GELU.
    Erf,
    /// `(1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`: GELU by `tanh`.
    Tanh,
    /// `σ(slope · x)`, where the slope is positive: SiLU and its like.
    Logistic(f32),
}

/// `x Φ(x)`, element by element.
///
/// # Shapes
/// - input and output: `[…]`
pub(crate) fn gated<const D: usize>(x: Tensor<D>, gate: Gate) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Kernels>::gated(x.into_dispatch(), gate))
}

/// `softmax(scale · scores + bias)` over keys.
///
/// # Shapes
/// - scores and output: `[batch, heads, queries, keys]`
/// - bias: the same, or 1 in place of any of them
pub(crate) fn biased_softmax(scores: Tensor<4>, bias: Tensor<4>, scale: f64) -> Tensor<4> {
    let probabilities = <Dispatch as Kernels>::biased_softmax(scores.into_dispatch(), bias.into_dispatch(), scale);
    Tensor::from_dispatch(probabilities)
}

/// The operations on a backend's tensors.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda"))
)]
pub(crate) trait Kernels: Backend {
    /// `x Φ(x)`.
    fn gated(x: FloatTensor<Self>, gate: Gate) -> FloatTensor<Self> {
        portable::gated::<Self>(x, gate)
    }

    /// `gradient · (Φ(x) + x Φ′(x))`.
    fn gated_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>, gate: Gate) -> FloatTensor<Self> {
        portable::gated_backward::<Self>(x, gradient, gate)
    }

    /// `softmax(scale · scores + bias)` over the last of four dimensions.
    fn biased_softmax(scores: FloatTensor<Self>, bias: FloatTensor<Self>, scale: f64) -> FloatTensor<Self> {
        portable::biased_softmax::<Self>(scores, bias, scale)
    }

    /// `p ⊙ (gradient − Σ gradient ⊙ p)`: what a softmax with the output p hands back.
    fn softmax_backward(p: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        portable::softmax_backward::<Self>(p, gradient)
    }
}

#[cfg(feature = "ndarray")]
impl Kernels for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl Kernels for burn::backend::Cube {}
