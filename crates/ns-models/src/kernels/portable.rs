//! The kernels in terms of Burn's own operations, for backends and dtypes without a specialised kernel.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use burn::backend::{Backend, tensor::FloatTensor};

use super::Gate;

/// Coefficient of the cubic term in the `tanh` approximation of GELU.
const CUBIC: f64 = 0.044_715;
/// `2 √(2/π)`: the `tanh` approximation of GELU is `x σ(TANH_SLOPE (x + CUBIC x³))`.
const TANH_SLOPE: f64 = 2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
/// `1 / √(2π)`, the density of the normal distribution at 0.
const PEAK: f64 = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

pub(super) fn gated<B: Backend>(x: FloatTensor<B>, gate: Gate) -> FloatTensor<B> {
    let phi = distribution::<B>(x.clone(), gate);
    B::float_mul(x, phi)
}

pub(super) fn gated_backward<B: Backend>(x: FloatTensor<B>, gradient: FloatTensor<B>, gate: Gate) -> FloatTensor<B> {
    let phi = distribution::<B>(x.clone(), gate);
    let x_density = B::float_mul(x.clone(), density::<B>(x, phi.clone(), gate));
    B::float_mul(gradient, B::float_add(phi, x_density))
}

pub(super) fn biased_softmax<B: Backend>(scores: FloatTensor<B>, bias: FloatTensor<B>, scale: f64) -> FloatTensor<B> {
    let scores = B::float_mul_scalar(scores, scale.into());
    B::softmax(B::float_add(scores, bias), 3)
}

pub(super) fn softmax_backward<B: Backend>(p: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    let weighted = B::float_mul(gradient, p.clone());
    let sum = B::float_sum_dim(weighted.clone(), 3);
    B::float_sub(weighted, B::float_mul(p, sum))
}

/// Φ(x).
fn distribution<B: Backend>(x: FloatTensor<B>, gate: Gate) -> FloatTensor<B> {
    match gate {
        Gate::Erf => {
            let erf = B::float_erf(B::float_mul_scalar(x, FRAC_1_SQRT_2.into()));
            B::float_mul_scalar(B::float_add_scalar(erf, 1.0.into()), 0.5.into())
        }
        Gate::Tanh => {
            let factor = quadratic::<B>(x.clone(), TANH_SLOPE, CUBIC * TANH_SLOPE);
            B::sigmoid(B::float_mul(x, factor))
        }
        Gate::Logistic(slope) => B::sigmoid(B::float_mul_scalar(x, slope.into())),
    }
}

/// Φ′(x), given phi = Φ(x).
fn density<B: Backend>(x: FloatTensor<B>, phi: FloatTensor<B>, gate: Gate) -> FloatTensor<B> {
    match gate {
        Gate::Erf => {
            let exponent = B::float_mul_scalar(B::float_mul(x.clone(), x), (-0.5).into());
            B::float_mul_scalar(B::float_exp(exponent), PEAK.into())
        }
        Gate::Tanh => {
            let slope = quadratic::<B>(x, TANH_SLOPE, 3.0 * CUBIC * TANH_SLOPE);
            B::float_mul(logistic_density::<B>(phi), slope)
        }
        Gate::Logistic(slope) => B::float_mul_scalar(logistic_density::<B>(phi), slope.into()),
    }
}

/// `σ (1 − σ)`, the derivative of the logistic function.
fn logistic_density<B: Backend>(sigma: FloatTensor<B>) -> FloatTensor<B> {
    let complement = B::float_add_scalar(B::float_neg(sigma.clone()), 1.0.into());
    B::float_mul(sigma, complement)
}

/// `a + b x²`.
fn quadratic<B: Backend>(x: FloatTensor<B>, a: f64, b: f64) -> FloatTensor<B> {
    B::float_add_scalar(B::float_mul_scalar(B::float_mul(x.clone(), x), b.into()), a.into())
}
