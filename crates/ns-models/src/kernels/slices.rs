//! The arithmetic of the kernels on slices of `f32`, without branches so that compilers vectorize it.
//!
//! Every function is compiled for AVX-512, for AVX2, and for the least that the target has, and the best is chosen at
//! run time. Sums run over a fixed number of lanes and nothing is contracted to fused multiply-adds, so all of them
//! give the same bits on every processor.

use multiversion::multiversion;

use super::Gate;

/// Partial sums and maxima that a row is reduced with, whatever the width of the processor's registers.
const LANES: usize = 16;
/// Beyond it `1 − Φ` is zero in `f32` for every gate; infinity would give `∞ · 0`.
const FAR: f32 = 128.0;
/// Below it `exp` is a denormal number, or zero; here it is zero.
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
        Gate::Erf => pairs.for_each(|(x, g)| *g *= slope(*x, erf_tail)),
        Gate::Tanh => pairs.for_each(|(x, g)| *g *= slope(*x, tanh_tail)),
        Gate::Logistic(by) => pairs.for_each(|(x, g)| *g *= slope(*x, |z| logistic_tail(z, by))),
    }
}

/// A row filled up to whole lanes: rows of attention are short, and a rest of single numbers would cost as much as
/// all before it.
pub(super) struct Lanes(Vec<[f32; LANES]>);

impl Lanes {
    pub(super) fn with_len(len: usize) -> Self {
        Self(vec![[f32::NEG_INFINITY; LANES]; len.div_ceil(LANES)])
    }
}

/// `row ← softmax(scale · row + bias)`; `lanes` are those of a row of this length.
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

/// `gradient ← p ⊙ (gradient − Σ gradient ⊙ p)`, what a softmax with the output p hands back.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn softmax_backward(p: &[f32], gradient: &mut [f32]) {
    let ((blocks, rest), (others, other_rest)) = (p.as_chunks::<LANES>(), gradient.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (block, other) in blocks.iter().zip(others) {
        for ((sum, p), g) in sums.iter_mut().zip(block).zip(other) {
            *sum += p * g;
        }
    }
    for ((sum, p), g) in sums.iter_mut().zip(rest).zip(other_rest) {
        *sum += p * g;
    }
    let sum: f32 = sums.into_iter().sum();
    for (p, g) in p.iter().zip(gradient) {
        *g = p * (*g - sum);
    }
}

/// `x Φ(x)` as `max(x, 0) − |x| (1 − Φ(|x|))`, which is accurate on both sides.
#[inline(always)]
fn value(x: f32, tail: impl Fn(f32) -> (f32, f32)) -> f32 {
    let z = near(x.abs());
    let (beyond, _) = tail(z);
    (if x > 0.0 { x } else { 0.0 }) - z * beyond
}

/// `Φ(x) + x Φ′(x)`.
#[inline(always)]
fn slope(x: f32, tail: impl Fn(f32) -> (f32, f32)) -> f32 {
    let z = near(x.abs());
    let (beyond, density) = tail(z);
    let spread = z * density;
    if x > 0.0 { 1.0 - beyond + spread } else { beyond - spread }
}

/// `min(z, FAR)`; not a number stays that.
#[inline(always)]
fn near(z: f32) -> f32 {
    if z > FAR { FAR } else { z }
}

/// `1 − Φ(z)` and `Φ′(z)` for `z ≥ 0` where Φ is the normal distribution.
///
/// `1 − Φ(z) = exp(−z²/2) · t p(t)` with `t = 1 / (1 + 0.26 z)`; p is the minimax polynomial in relative error, below
/// 4·10⁻⁸ for `z ≤ 15`, where the tail is 10⁻⁵¹.
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

/// The same where `Φ(z) = (1 + tanh u) / 2` with `u = √(2/π) (z + 0.044715 z³)`, that is `σ(2u)`.
#[inline(always)]
fn tanh_tail(z: f32) -> (f32, f32) {
    /// `2 √(2/π)`.
    const BY: f32 = 1.595_769;
    let cubic = 0.044_715 * z * z;
    let beyond = logistic(BY * z * (1.0 + cubic));
    (beyond, beyond * (1.0 - beyond) * BY * (1.0 + 3.0 * cubic))
}

/// The same where `Φ(z) = σ(slope · z)`.
#[inline(always)]
fn logistic_tail(z: f32, slope: f32) -> (f32, f32) {
    let beyond = logistic(slope * z);
    (beyond, beyond * (1.0 - beyond) * slope)
}

/// `1 − σ(z)` for `z ≥ 0`.
#[inline(always)]
fn logistic(z: f32) -> f32 {
    let e = exp(-z);
    e / (1.0 + e)
}

/// `eˣ` for `x ≤ 0`, with a relative error below 2·10⁻⁷; zero where it would be a denormal number.
///
/// `eˣ = 2ⁿ eʳ` with n the nearest integer to `x / ln 2`, and a polynomial for `eʳ` (Cephes, `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// `1.5 · 2²³`: adding it rounds to an integer, which then stands in the low bits.
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

/// `c₀ + c₁ x + c₂ x² + …`.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.into_iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}
