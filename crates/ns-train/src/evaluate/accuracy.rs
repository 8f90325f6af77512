//! Accuracy.

use burn::tensor::{Int, Tensor};

/// Share of rows whose highest score is the answer.
pub(crate) fn accuracy(logits: Tensor<2>, answers: Tensor<1, Int>) -> f64 {
    let [batch, _] = logits.dims();
    let right: i64 = logits.argmax(1).reshape([batch]).equal(answers).int().sum().into_scalar();
    right as f64 / batch as f64
}
