//! Hard concrete masks (Louizos et al. 2018, <https://arxiv.org/abs/1712.01312>).
//!
//! With logits `s`, noise `u`, stretch `γ < 0 < 1 < ζ` and temperature `T` (equations 10, 11 and 12 of the paper):
//!
//! - training mask `clamp(σ((ln u − ln(1−u) + s)/T)(ζ−γ)+γ, 0, 1)`
//! - hard mask `clamp(σ(s)(ζ−γ)+γ, 0, 1) > ½`
//! - training L0 `Σ σ(s − T ln(−γ/ζ))`, summed over the logits, not over the weights that they cover

use burn::tensor::{Tensor, activation::sigmoid};
use multiversion::multiversion;

use crate::kernels::Relaxation;
use crate::rng;

/// Noise and initial keep probabilities are clamped to `[MARGIN, 1 − MARGIN]`.
const MARGIN: f64 = 1e-4;

/// The constants of the hard concrete distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct HardConcrete {
    /// `γ`
    pub(crate) left_stretch: f64,
    /// `ζ`
    pub(crate) right_stretch: f64,
    /// `T`
    pub(crate) temperature: f64,
}

impl Default for HardConcrete {
    fn default() -> Self {
        Self { left_stretch: -0.1, right_stretch: 1.1, temperature: 2.0 / 3.0 }
    }
}

impl HardConcrete {
    /// The hard mask, as zeros and ones. It uses no noise. Shapes: `logits` `[n]`, result `[n]`.
    pub(crate) fn hard_mask(&self, logits: Tensor<1>) -> Tensor<1> {
        let stretched = sigmoid(logits)
            .mul_scalar((self.right_stretch - self.left_stretch) as f32)
            .add_scalar(self.left_stretch as f32);
        stretched.clamp(0.0, 1.0).greater_scalar(0.5).float()
    }

    /// The relaxation: the formulas of soft mask and gate.
    pub(crate) fn relaxation(&self) -> Relaxation {
        Relaxation::HardConcrete {
            temperature: self.temperature as f32,
            low: self.left_stretch as f32,
            span: (self.right_stretch - self.left_stretch) as f32,
            shift: (self.temperature * (-self.left_stretch / self.right_stretch).ln()) as f32,
        }
    }
}

/// The initial logit `ln(p / (1 − p))` for a keep probability `p`, clamped to `[1e-4, 1 − 1e-4]`.
pub(crate) fn initial_logit(percentage: f32) -> f32 {
    let p = f64::from(percentage).clamp(MARGIN, 1.0 - MARGIN);
    rng::ln(p / (1.0 - p)) as f32
}

/// Samples `n` values of `ln u − ln(1−u)`, with `u` uniform in `[1e-4, 1 − 1e-4)`, from a stream of [`rng`].
pub(crate) fn sample_noise(stream: (u64, &str, u64, u64), n: usize) -> Vec<f32> {
    rng::map_uniform(stream, n, noise_of_uniform)
}

/// Turns uniform values from `[0, 1)` into noise, in place. It uses IEEE arithmetic only, so the result has the same
/// bits on every processor.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
fn noise_of_uniform(values: &mut [f32]) {
    for value in values {
        *value = log_odds(MARGIN + (1.0 - 2.0 * MARGIN) * f64::from(*value));
    }
}

/// The log-odds `ln u − ln(1−u)`, with `u` clamped to `[1e-4, 1 − 1e-4]`.
#[inline(always)]
pub(crate) fn log_odds(u: f64) -> f32 {
    let u = u.clamp(MARGIN, 1.0 - MARGIN);
    rng::ln(u / (1.0 - u)) as f32
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::kernels::L0Handoff;
    use crate::methods::Method;
    use crate::testing::assert_close;

    fn method() -> Method {
        Method::HardConcrete(HardConcrete::default())
    }

    fn tensor<const N: usize>(values: [f32; N]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::default())
    }

    #[test]
    fn soft_mask_by_hand() {
        // s = 1, u = ½: σ(1.5)·1.2 − 0.1 = 0.881 089 4; large logits clamp to 0 and 1
        let mask = method().soft_mask(tensor([1.0, -9.0, 9.0]), Some(tensor([0.0, 0.0, 0.0])), 1.0);
        assert_close(mask, &[0.881_089_4, 0.0, 1.0]);
    }

    #[test]
    fn hard_mask_is_open_above_logit_zero() {
        let mask = HardConcrete::default().hard_mask(tensor([-0.01, 0.0, 0.01, 4.0]));
        assert_close(mask, &[0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn l0_by_hand() {
        // σ(0 − ⅔ ln(0.1/1.1)) = σ(1.598 596 8) = 0.831 822 7
        let l0 = method().l0(tensor([0.0, 0.0]), 1.0, 3, &L0Handoff::default()).unwrap();
        assert_close(l0, &[2.0 * 0.831_822_7]);
    }

    #[test]
    fn initial_logit_is_clipped() {
        assert_eq!(initial_logit(0.5), 0.0);
        assert!((initial_logit(1.0) - 9.210_24).abs() < 1e-4);
        assert!((initial_logit(0.0) + 9.210_24).abs() < 1e-4);
    }

    #[test]
    fn noise_stays_within_its_margins() {
        let noise = sample_noise((1, "x", 0, 0), 5000);
        assert!(noise.iter().all(|v| v.abs() <= 9.2104));
        assert!(noise.iter().any(|v| *v > 3.0) && noise.iter().any(|v| *v < -3.0));
        assert_eq!(log_odds(0.0), log_odds(1e-4));
        let mut stream = rng::stream(1, "x", 0, 0);
        for noise in &noise[..100] {
            let u = MARGIN + (1.0 - 2.0 * MARGIN) * f64::from(rng::uniform01(&mut stream));
            assert_eq!(*noise, log_odds(u));
        }
    }
}
