//! One vector a sequence, and how alike two of them are.

use burn::tensor::{Int, Tensor};

/// Keeps a row of padding only, or a vector of zeros, from a division by 0.
const SMALLEST_DIVISOR: f64 = 1e-9;

/// Mean of the vectors of real tokens; zeros for a row of padding only.
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

/// Cosine of the angle between each vector of `left` and each of `right`.
///
/// # Shapes
/// - left: `[n, hidden]`
/// - right: `[m, hidden]`
/// - output: `[n, m]`
pub fn cosine_similarity(left: Tensor<2>, right: Tensor<2>) -> Tensor<2> {
    unit_length(left).matmul(unit_length(right).transpose())
}

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
    fn likeness_is_of_direction_and_not_of_length() {
        let device = Device::default();
        let left = Tensor::from_floats([[3.0, 4.0], [0.0, 2.0]], &device);
        let right = Tensor::from_floats([[6.0, 8.0], [1.0, 0.0], [0.0, 0.0]], &device);
        let expected = TensorData::from([[1.0f32, 0.6, 0.0], [0.8, 0.0, 0.0]]);
        assert_close(cosine_similarity(left, right), expected);
    }
}
