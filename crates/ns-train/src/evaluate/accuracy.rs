//! Accuracy of scores against labels.

use burn::tensor::{Int, Tensor};

/// Number of rows in which the right answer alone has the highest score. A tie is wrong.
///
/// # Shapes
/// - logits: `[batch, answers]`
/// - answers: `[batch]`
pub(crate) fn count_right(logits: Tensor<2>, answers: Tensor<1, Int>) -> i64 {
    let [batch, _] = logits.dims();
    let right = logits.clone().gather(1, answers.reshape([batch, 1]));
    // Only the right answer itself scores as high. A comparison with NaN is false, so NaN is wrong.
    let as_high = logits.clone().greater_equal(right.clone()).int().sum_dim(1);
    let finite = right.clone().equal(right).int();
    (as_high.equal_elem(1).int() * finite).sum().into_scalar()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn a_tie_and_nan_are_wrong() {
        let device = Device::default();
        let scores = [[1.0, 3.0, 2.0], [3.0, 3.0, 1.0], [0.0, f32::NAN, 1.0], [5.0, f32::NEG_INFINITY, 1.0]];
        let of =
            |labels: [i64; 4]| count_right(Tensor::from_floats(scores, &device), Tensor::from_ints(labels, &device));
        assert_eq!(of([1, 0, 1, 0]), 2);
        assert_eq!(of([0, 1, 1, 1]), 0);
    }
}
