//! The arithmetic of the CPU kernels on slices of `f32`, without branches, so that the compiler vectorizes it.
//!
//! Every function is compiled for AVX-512, for AVX2 and for the baseline of the target; the best version is chosen at
//! run time. Sums use a fixed number of lanes, and nothing is contracted to fused multiply-adds. So all versions return
//! the same bits on every processor.

use std::mem::MaybeUninit;

use multiversion::multiversion;

use super::{AdamWStep, Relaxation};

/// Number of partial sums, independent of the register width of the processor.
const LANES: usize = 16;
/// Number of values that are summed in `f32` before they are added to a sum in `f64`.
const BLOCK: usize = 1024;
/// About the smallest exponent with a normal result. Below it, [`exp`] returns zero instead of a denormal number.
const LEAST_EXPONENT: f32 = -87.3;

/// `out ← parameter · mask(logits)`. Returns the sum of the open gates. `noise` is empty if the mask uses none.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn masked(
    parameter: &[f32],
    logits: &[f32],
    noise: &[f32],
    out: &mut [MaybeUninit<f32>],
    relaxation: Relaxation,
) -> f64 {
    let mut gates = [0.0; BLOCK];
    let mut noise = noise.chunks(BLOCK);
    let blocks = parameter.chunks(BLOCK).zip(logits.chunks(BLOCK)).zip(out.chunks_mut(BLOCK));
    let sums = blocks.map(|((parameter, logits), out)| {
        let values = parameter.iter().zip(logits).zip(out).zip(&mut gates);
        match relaxation {
            Relaxation::Logistic { temperature } => values.for_each(|(((w, s), out), gate)| {
                *gate = logistic(temperature * s);
                out.write(w * *gate);
            }),
            Relaxation::HardConcrete { temperature, low, span, shift } => {
                let values = values.zip(noise.next().unwrap_or_default());
                values.for_each(|((((w, s), out), gate), noise)| {
                    out.write(w * clamped(logistic((s + noise) / temperature) * span + low));
                    *gate = logistic(s - shift);
                });
            }
        }
        sum(&gates[..logits.len()])
    });
    sums.sum()
}

/// `gradient ← gradient · parameter · mask′(logits) + gates_gradient · gate′(logits)`.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn masked_backward(
    parameter: &[f32],
    logits: &[f32],
    noise: &[f32],
    gradient: &mut [f32],
    gates_gradient: f32,
    relaxation: Relaxation,
) {
    match relaxation {
        Relaxation::Logistic { temperature } => {
            for ((g, w), s) in gradient.iter_mut().zip(parameter).zip(logits) {
                *g = (*g * w + gates_gradient) * logistic_slope(temperature * s) * temperature;
            }
        }
        Relaxation::HardConcrete { temperature, low, span, shift } => {
            let scale = span / temperature;
            for (((g, w), s), noise) in gradient.iter_mut().zip(parameter).zip(logits).zip(noise) {
                let gate = logistic((s + noise) / temperature);
                let stretched = gate * span + low;
                let slope = gate * (1.0 - gate) * scale;
                let slope = if (0.0..=1.0).contains(&stretched) { slope } else { slope * 0.0 };
                *g = *g * w * slope + gates_gradient * logistic_slope(s - shift);
            }
        }
    }
}

/// The sum of the open gates.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn open_gates(logits: &[f32], relaxation: Relaxation) -> f64 {
    let mut gates = [0.0; BLOCK];
    let sums = logits.chunks(BLOCK).map(|logits| {
        let values = logits.iter().zip(&mut gates);
        match relaxation {
            Relaxation::Logistic { temperature } => values.for_each(|(s, gate)| *gate = logistic(temperature * s)),
            Relaxation::HardConcrete { shift, .. } => values.for_each(|(s, gate)| *gate = logistic(s - shift)),
        }
        sum(&gates[..logits.len()])
    });
    sums.sum()
}

/// `out ← gradient · gate′(logits)`.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn open_gates_backward(logits: &[f32], gradient: f32, out: &mut [MaybeUninit<f32>], relaxation: Relaxation) {
    let values = logits.iter().zip(out);
    match relaxation {
        Relaxation::Logistic { temperature } => values.for_each(|(s, out)| {
            out.write(gradient * logistic_slope(temperature * s) * temperature);
        }),
        Relaxation::HardConcrete { shift, .. } => values.for_each(|(s, out)| {
            out.write(gradient * logistic_slope(s - shift));
        }),
    }
}

/// `row ← row + a · b`.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn add_product(row: &mut [f32], a: &[f32], b: &[f32]) {
    for ((sum, a), b) in row.iter_mut().zip(a).zip(b) {
        *sum += a * b;
    }
}

/// `out ← a · b`.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn product(a: &[f32], b: &[f32], out: &mut [MaybeUninit<f32>]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        out.write(a * b);
    }
}

/// One AdamW step: updates the moments in place, and writes the new parameter to `gradient`. Operations and their order
/// match Burn's AdamW.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
pub(super) fn adamw(parameter: &[f32], gradient: &mut [f32], first: &mut [f32], second: &mut [f32], step: AdamWStep) {
    let ([beta_1, beta_2], [correction_1, correction_2]) = (step.betas, step.corrections);
    let (new_1, new_2) = (1.0 - beta_1, 1.0 - beta_2);
    for (((w, g), m), v) in parameter.iter().zip(gradient).zip(first).zip(second) {
        *m = *m * beta_1 + *g * new_1;
        *v = *v * beta_2 + *g * *g * new_2;
        let delta = *m / correction_1 / ((*v / correction_2).sqrt() + step.epsilon);
        *g = w * step.kept - delta * step.learning_rate;
    }
}

/// The sum of at most [`BLOCK`] values, with [`LANES`] partial sums.
#[inline(always)]
fn sum(values: &[f32]) -> f64 {
    let (rows, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for row in rows {
        for (lane, value) in lanes.iter_mut().zip(row) {
            *lane += value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value;
    }
    lanes.into_iter().map(f64::from).sum()
}

/// `min(max(x, 0), 1)`. NaN stays NaN.
#[inline(always)]
fn clamped(x: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > 1.0 { 1.0 } else { x }
}

/// `σ(x)`.
#[inline(always)]
fn logistic(x: f32) -> f32 {
    let e = exp(-x.abs());
    let of_abs = 1.0 / (1.0 + e); // σ(|x|)
    if x < 0.0 { e * of_abs } else { of_abs }
}

/// `σ(x) (1 − σ(x))`.
#[inline(always)]
fn logistic_slope(x: f32) -> f32 {
    let e = exp(-x.abs());
    let of_abs = 1.0 / (1.0 + e); // σ(|x|)
    e * of_abs * of_abs
}

/// `eˣ` for `x ≤ 0`, with a relative error below 2·10⁻⁷. Denormal results are replaced by zero.
///
/// `eˣ = 2ⁿ eʳ`, where n is the integer nearest to `x / ln 2`, and `eʳ` is a polynomial (Cephes, `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// `1.5 · 2²³`. Adding it rounds a number to an integer, which is then in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    const P: [f32; 6] = [0.5, 1.666_666_5e-1, 4.166_579_6e-2, 8.333_452e-3, 1.398_199_9e-3, 1.987_569_1e-4];
    let clamped = if x < LEAST_EXPONENT { LEAST_EXPONENT } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    let polynomial = P.into_iter().rev().fold(0.0, |sum, coefficient| sum * r + coefficient);
    let e = (r * r * polynomial + r + 1.0) * power;
    if x < LEAST_EXPONENT { 0.0 } else { e }
}
