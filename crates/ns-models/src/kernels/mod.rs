//! Fused and vectorised kernels for gated activations and biased softmax.
//!
//! Burn's CPU backend computes these operations one element at a time with functions of the C library, which is slow.
//! `portable.rs` implements the kernels with Burn's own operations for all backends, and `flex.rs` implements them for
//! the CPU backend `flex`, with the arithmetic in `slices.rs`. `autodiff.rs` contains the derivatives. Within the
//! library crates, only `kernels` modules refer to specific backends.
// Burn marks the `ndarray` backend as deprecated, and the macro `backend_extension` refers to it.
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

/// The distribution function Φ of a gated activation `x Φ(x)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Gate {
    /// The normal distribution, `(1 + erf(x / √2)) / 2`: exact GELU.
    Erf,
    /// `(1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`: the `tanh` approximation of GELU.
    Tanh,
    /// `σ(slope · x)` with a positive slope: SiLU and quick GELU.
    Logistic(f32),
}

/// `x Φ(x)`, elementwise.
///
/// # Shapes
/// - x and output: `[…]`, any shape
pub(crate) fn gated<const D: usize>(x: Tensor<D>, gate: Gate) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Kernels>::gated(x.into_dispatch(), gate))
}

/// `softmax(scale · scores + bias)` over the keys.
///
/// # Shapes
/// - scores and output: `[batch, heads, queries, keys]`
/// - bias: `[1 or batch, 1 or heads, 1 or queries, 1 or keys]`
pub(crate) fn biased_softmax(scores: Tensor<4>, bias: Tensor<4>, scale: f64) -> Tensor<4> {
    let probabilities = <Dispatch as Kernels>::biased_softmax(scores.into_dispatch(), bias.into_dispatch(), scale);
    Tensor::from_dispatch(probabilities)
}

/// The kernels as operations on the tensors of a backend. The default implementations are portable.
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

    /// `p ⊙ (gradient − Σ gradient ⊙ p)` over the last of four dimensions: the gradient of the input of a softmax with
    /// output p.
    fn softmax_backward(p: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        portable::softmax_backward::<Self>(p, gradient)
    }
}

#[cfg(feature = "ndarray")]
impl Kernels for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl Kernels for burn::backend::Cube {}
