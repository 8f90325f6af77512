//! Mean pooling of hidden states, and cosine similarity.

use burn::tensor::{Int, Tensor};

/// Lower bound of divisors. It avoids a division by 0 for a sequence of padding or a vector of zeros.
const SMALLEST_DIVISOR: f64 = 1e-9;

/// Averages the hidden states of the real tokens of each sequence. A sequence that contains only padding has a mean of
/// zeros.
///
/// # Shapes
/// - last_hidden_state: `[batch, seq, hidden]`
/// - attention_mask: `[batch, seq]`, 1 for real tokens and 0 for padding
/// - output: `[batch, hidden]`
pub fn mean_pool(last_hidden_state: Tensor<3>, attention_mask: Tensor<2, Int>) -> Tensor<2> {
    let mask = attention_mask.float().unsqueeze_dim::<3>(2);
    let count = mask.clone().sum_dim(1).clamp_min(SMALLEST_DIVISOR);
    ((last_hidden_state * mask).sum_dim(1) / count).squeeze_dim(1)
}

/// Computes the cosine similarity of each vector in `left` with each vector in `right`. The similarity with a vector of
/// zeros is 0.
///
/// # Shapes
/// - left: `[n, hidden]`
/// - right: `[m, hidden]`
/// - output: `[n, m]`
pub fn cosine_similarity(left: Tensor<2>, right: Tensor<2>) -> Tensor<2> {
    unit_length(left).matmul(unit_length(right).transpose())
}

/// Scales each row to length 1; a row of zeros stays zero.
fn unit_length(vectors: Tensor<2>) -> Tensor<2> {
    let length = vectors.clone().square().sum_dim(1).sqrt().clamp_min(SMALLEST_DIVISOR);
    vectors / length
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;

    fn assert_close<const D: usize>(found: Tensor<D>, expected: TensorData) {
        found.into_data().assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
    }

    #[test]
    fn padding_does_not_count() {
        let device = Device::default();
        let hidden = Tensor::from_floats(
            [[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[5.0, 0.0], [7.0, 7.0], [7.0, 7.0]], [[1.0, 1.0]; 3]],
            &device,
        );
        let mask = Tensor::from_ints([[1, 1, 0], [1, 0, 0], [0, 0, 0]], &device);
        assert_close(mean_pool(hidden, mask), TensorData::from([[2.0f32, 4.0], [5.0, 0.0], [0.0, 0.0]]));
    }

    #[test]
    fn cosine_similarity_depends_on_direction_only() {
        let device = Device::default();
        let left = Tensor::from_floats([[3.0, 4.0], [0.0, 2.0]], &device);
        let right = Tensor::from_floats([[6.0, 8.0], [1.0, 0.0], [0.0, 0.0]], &device);
        let expected = TensorData::from([[1.0f32, 0.6, 0.0], [0.8, 0.0, 0.0]]);
        assert_close(cosine_similarity(left, right), expected);
    }
}
