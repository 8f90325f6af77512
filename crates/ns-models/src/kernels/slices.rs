//! The arithmetic of the kernels on slices of `f32`, written without branches so that the compiler can vectorise it.
//!
//! Every function is compiled for AVX-512, for AVX2 and for the baseline of the target. The best version is selected at
//! run time. Sums use a fixed number of lanes, and fused multiply-adds are not used, so all versions return the same
//! bits.

use multiversion::multiversion;

use super::Gate;

/// Number of partial sums and maxima in a reduction of a row. It does not depend on the width of the registers.
const LANES: usize = 16;
/// Upper bound of `|x|`. Above it, `1 − Φ` is zero in `f32` for every gate. Without the bound, infinity would produce
/// `∞ · 0`.
const FAR: f32 = 128.0;
/// Lower bound of exponents. Below it, `eˣ` is subnormal or zero, and [`exp`] returns zero.
const LEAST_EXPONENT: f32 = -87.3;

/// `x ← x Φ(x)`.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn gated(x: &mut [f32], gate: Gate) {
    match gate {
        Gate::Erf => x.iter_mut().for_each(|x| *x = value(*x, erf_tail)),
        Gate::Tanh => x.iter_mut().for_each(|x| *x = value(*x, tanh_tail)),
        Gate::Logistic(slope) => x.iter_mut().for_each(|x| *x = value(*x, |z| logistic_tail(z, slope))),
    }
}

/// `gradient ← gradient · (Φ(x) + x Φ′(x))`.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn gated_backward(x: &[f32], gradient: &mut [f32], gate: Gate) {
    let pairs = x.iter().zip(gradient);
    match gate {
        Gate::Erf => pairs.for_each(|(x, g)| *g *= derivative(*x, erf_tail)),
        Gate::Tanh => pairs.for_each(|(x, g)| *g *= derivative(*x, tanh_tail)),
        Gate::Logistic(slope) => pairs.for_each(|(x, g)| *g *= derivative(*x, |z| logistic_tail(z, slope))),
    }
}

/// A buffer for a row of scores, padded to whole lanes. Rows of attention scores are short, so processing the remainder
/// one element at a time would take as long as all whole lanes.
pub(super) struct Lanes(Vec<[f32; LANES]>);

impl Lanes {
    pub(super) fn with_len(len: usize) -> Self {
        Self(vec![[f32::NEG_INFINITY; LANES]; len.div_ceil(LANES)])
    }
}

/// `row ← softmax(scale · row + bias)`; `lanes` is a buffer for a row of this length.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn biased_softmax(row: &mut [f32], bias: &[f32], scale: f32, Lanes(lanes): &mut Lanes) {
    if let Some(last) = lanes.last_mut() {
        *last = [f32::NEG_INFINITY; LANES];
    }
    for ((lane, score), bias) in lanes.as_flattened_mut().iter_mut().zip(&*row).zip(bias) {
        *lane = score * scale + bias;
    }
    let mut largest = [f32::NEG_INFINITY; LANES];
    for block in &*lanes {
        for (largest, score) in largest.iter_mut().zip(block) {
            *largest = if score > largest { *score } else { *largest };
        }
    }
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let mut sums = [0.0; LANES];
    for block in &mut *lanes {
        for (sum, score) in sums.iter_mut().zip(block) {
            *score = exp(*score - largest);
            *sum += *score;
        }
    }
    let inverse = 1.0 / sums.into_iter().sum::<f32>();
    for (probability, e) in row.iter_mut().zip(lanes.as_flattened()) {
        *probability = e * inverse;
    }
}

/// `gradient ← p ⊙ (gradient − Σ gradient ⊙ p)`: the gradient of the input of a softmax with output p.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn softmax_backward(p: &[f32], gradient: &mut [f32]) {
    let (p_blocks, p_rest) = p.as_chunks::<LANES>();
    let (gradient_blocks, gradient_rest) = gradient.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (p_block, gradient_block) in p_blocks.iter().zip(gradient_blocks) {
        for ((sum, p), g) in sums.iter_mut().zip(p_block).zip(gradient_block) {
            *sum += p * g;
        }
    }
    for ((sum, p), g) in sums.iter_mut().zip(p_rest).zip(gradient_rest) {
        *sum += p * g;
    }
    let sum: f32 = sums.into_iter().sum();
    for (p, g) in p.iter().zip(gradient) {
        *g = p * (*g - sum);
    }
}

/// `x Φ(x)`, computed as `max(x, 0) − |x| (1 − Φ(|x|))`, which is accurate for positive and negative x. `tail` returns
/// `1 − Φ(z)` and `Φ′(z)` for `z ≥ 0`.
#[inline(always)]
fn value(x: f32, tail: impl Fn(f32) -> (f32, f32)) -> f32 {
    let z = min_far(x.abs());
    let (upper, _) = tail(z);
    (if x > 0.0 { x } else { 0.0 }) - z * upper
}

/// The derivative of `x Φ(x)`, `Φ(x) + x Φ′(x)`. `tail` is that of [`value`].
#[inline(always)]
fn derivative(x: f32, tail: impl Fn(f32) -> (f32, f32)) -> f32 {
    let z = min_far(x.abs());
    let (upper, density) = tail(z);
    let z_density = z * density;
    if x > 0.0 { 1.0 - upper + z_density } else { upper - z_density }
}

/// `min(z, FAR)`, but NaN for NaN.
#[inline(always)]
fn min_far(z: f32) -> f32 {
    if z > FAR { FAR } else { z }
}

/// `1 − Φ(z)` and `Φ′(z)` for `z ≥ 0`, where Φ is the normal distribution.
///
/// `1 − Φ(z) = exp(−z²/2) · t p(t)` with `t = 1 / (1 + 0.26 z)`. The polynomial p minimises the maximum relative error,
/// which is below 4·10⁻⁸ for `z ≤ 15`. At `z = 15`, the tail is 10⁻⁵¹.
#[inline(always)]
fn erf_tail(z: f32) -> (f32, f32) {
    const P: [f32; 9] = [
        0.103_755_14,
        0.103_083_02,
        0.102_560_09,
        0.052_859_626,
        0.156_652_27,
        -0.144_728_57,
        0.246_045_99,
        -0.150_187_87,
        0.029_960_284,
    ];
    /// `1 / √(2π)`.
    const PEAK: f32 = 0.398_942_3;
    let t = 1.0 / (1.0 + 0.26 * z);
    let bell = exp(-0.5 * z * z);
    (bell * t * polynomial(t, P), bell * PEAK)
}

/// `1 − Φ(z)` and `Φ′(z)` for `z ≥ 0`, where `Φ(z) = (1 + tanh u) / 2 = σ(2u)` with `u = √(2/π) (z + 0.044715 z³)`.
#[inline(always)]
fn tanh_tail(z: f32) -> (f32, f32) {
    /// `2 √(2/π)`.
    const TANH_SLOPE: f32 = 1.595_769;
    let cubic = 0.044_715 * z * z;
    let upper = logistic_upper(TANH_SLOPE * z * (1.0 + cubic));
    (upper, upper * (1.0 - upper) * TANH_SLOPE * (1.0 + 3.0 * cubic))
}

/// `1 − Φ(z)` and `Φ′(z)` for `z ≥ 0`, where `Φ(z) = σ(slope · z)`.
#[inline(always)]
fn logistic_tail(z: f32, slope: f32) -> (f32, f32) {
    let upper = logistic_upper(slope * z);
    (upper, upper * (1.0 - upper) * slope)
}

/// `1 − σ(z)` for `z ≥ 0`.
#[inline(always)]
fn logistic_upper(z: f32) -> f32 {
    let e = exp(-z);
    e / (1.0 + e)
}

/// `eˣ` for `x ≤ 0`, with a relative error below 2·10⁻⁷. Results that would be subnormal are zero.
///
/// `eˣ = 2ⁿ eʳ`, where n is the integer nearest to `x / ln 2`, with a polynomial for `eʳ` (Cephes, `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// `1.5 · 2²³`: adding it rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const P: [f32; 6] = [0.5, 1.666_666_5e-1, 4.166_579_6e-2, 8.333_452e-3, 1.398_199_9e-3, 1.987_569_1e-4];
    let clamped = if x < LEAST_EXPONENT { LEAST_EXPONENT } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    let e = (r * r * polynomial(r, P) + r + 1.0) * power;
    if x < LEAST_EXPONENT { 0.0 } else { e }
}

/// The polynomial `c₀ + c₁ x + c₂ x² + …`.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.into_iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}
