//! Losses of heads, as HF computes them.

use burn::tensor::{Int, Tensor, activation::log_softmax};

/// Mean cross-entropy, in the precision of `logits`.
///
/// # Shapes
/// - logits: `[n, classes]`
/// - labels: `[n]`
/// - output: `[1]`
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let [n, _] = logits.dims();
    log_softmax(logits, 1).gather(1, labels.reshape([n, 1])).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn by_hand() {
        let device = Device::default();
        let logits = Tensor::from_floats([[0.0, 0.0], [0.0, (3.0_f32).ln()]], &device);
        let loss: f64 = cross_entropy(logits, Tensor::from_ints([0, 1], &device)).into_scalar();
        assert!((loss - (2.0_f64.ln() + (4.0_f64 / 3.0).ln()) / 2.0).abs() < 1e-6);
    }
}
