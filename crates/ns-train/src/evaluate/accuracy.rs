//! Accuracy of scores against labels.

use burn::tensor::{Int, Tensor};

/// Fraction of rows in which the right answer has the highest score.
///
/// # Shapes
/// - logits: `[batch, answers]`
/// - answers: `[batch]`
pub(crate) fn accuracy(logits: Tensor<2>, answers: Tensor<1, Int>) -> f64 {
    let [batch, _] = logits.dims();
    let correct: i64 = logits.argmax(1).reshape([batch]).equal(answers).int().sum().into_scalar();
    correct as f64 / batch as f64
}
