//! Continuous sparsification (Savarese et al. 2020, <https://arxiv.org/abs/1912.04427>).
//!
//! With logits `s` and temperature `τ`, the training mask is `σ(τ s)` (equation 4 of the paper) and the hard mask is
//! `s > 0`. The training L0 is the sum of the training mask over all weights that it covers.

use burn::tensor::Tensor;

/// The hard mask `s > 0`, as zeros and ones. Shapes: `logits` `[n]`, result `[n]`.
pub(crate) fn hard_mask(logits: Tensor<1>) -> Tensor<1> {
    logits.greater_scalar(0.0).float()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::kernels::L0Handoff;
    use crate::methods::Method;
    use crate::testing::assert_close;

    const METHOD: Method = Method::ContinuousSparsification;

    fn logits() -> Tensor<1> {
        Tensor::from_floats([-1.0, 0.0, 0.5], &Device::default())
    }

    #[test]
    fn soft_mask_is_the_logistic_of_the_scaled_logit() {
        // σ(-2), σ(0), σ(1)
        assert_close(METHOD.soft_mask(logits(), None, 2.0), &[0.119_202_92, 0.5, 0.731_058_6]);
        assert_close(METHOD.soft_mask(logits(), None, 0.0), &[0.5, 0.5, 0.5]);
    }

    #[test]
    fn zero_is_outside_the_circuit() {
        assert_close(hard_mask(logits()), &[0.0, 0.0, 1.0]);
    }

    #[test]
    fn l0_counts_weights_not_logits() {
        assert_close(METHOD.l0(logits(), 2.0, 3, &L0Handoff::default()).unwrap(), &[3.0 * 1.350_261_5]);
    }
}
