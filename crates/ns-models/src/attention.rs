//! Scaled dot-product attention: the one place that calls softmax on scores.

use std::ops::Range;

use burn::tensor::{Bool, Device, Int, Tensor, activation::softmax};

/// What HF adds to the score of a key that a query must not see (`torch.finfo(float32).min`).
const MASKED: f32 = f32::MIN;

/// Additive mask over attention scores, `[1 or batch, 1, queries, keys]`.
///
/// As HF does, masked scores become `f32::MIN` and not −∞: a query that may see no key at all attends uniformly
/// instead of giving NaN.
#[derive(Clone, Debug)]
pub struct AttentionBias(Tensor<4>);

impl AttentionBias {
    /// Causal mask, and the padding of `attention_mask` if there is one.
    ///
    /// # Shapes
    /// - attention_mask: `[batch, seq]`, 1 for real tokens
    pub fn causal(seq: usize, attention_mask: Option<&Tensor<2, Int>>, device: &Device) -> Self {
        let future = Tensor::<2, Bool>::tril_mask([seq, seq], 0, device);
        let causal = Tensor::<2>::zeros([seq, seq], device).mask_fill(future, MASKED).reshape([1, 1, seq, seq]);
        Self(match attention_mask {
            Some(mask) => causal + Self::padding(mask).0,
            None => causal,
        })
    }

    /// The mask of these queries alone.
    pub fn of_queries(&self, queries: Range<usize>) -> Self {
        Self(self.0.clone().slice_dim(2, queries))
    }

    /// Padding mask alone, for bidirectional attention.
    ///
    /// # Shapes
    /// - attention_mask: `[batch, seq]`, 1 for real tokens
    pub fn padding(attention_mask: &Tensor<2, Int>) -> Self {
        let [batch, seq] = attention_mask.dims();
        Self(((attention_mask.clone().float() * -1.0 + 1.0) * MASKED).reshape([batch, 1, 1, seq]))
    }
}

/// `softmax(scale · q kᵀ + bias) v` (Vaswani et al. 2017, equation 1).
///
/// # Shapes
/// - query: `[batch, heads, queries, head_dim]`
/// - key, value: `[batch, heads, keys, head_dim]`
/// - output: `[batch, heads, queries, head_dim]`
pub fn attend(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, scale: f64, bias: &AttentionBias) -> Tensor<4> {
    let scores = (query * scale).matmul(key.swap_dims(2, 3));
    softmax(scores + bias.0.clone(), 3).matmul(value)
}

/// `[batch, seq, hidden]` → `[batch, heads, seq, hidden / heads]`.
pub fn split_heads(x: Tensor<3>, n_heads: usize) -> Tensor<4> {
    let [batch, seq, hidden] = x.dims();
    x.reshape([batch, seq, n_heads, hidden / n_heads]).swap_dims(1, 2)
}

/// `[batch, heads, seq, head_dim]` → `[batch, seq, heads · head_dim]`.
pub fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, seq, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, seq, heads * head_dim])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    #[test]
    fn a_query_sees_itself_and_the_past() {
        let device = Device::default();
        let zeros = Tensor::<4>::zeros([1, 1, 3, 1], &device);
        let value = Tensor::<4>::from_floats([[[[3.0], [5.0], [10.0]]]], &device);
        let seen = attend(zeros.clone(), zeros, value, 1.0, &AttentionBias::causal(3, None, &device));
        seen.into_data().assert_approx_eq::<f32>(&[[[[3.0], [4.0], [6.0]]]].into(), Tolerance::default());
    }

    #[test]
    fn padding_is_not_seen_and_a_blind_query_is_finite() {
        let device = Device::default();
        let zeros = Tensor::<4>::zeros([1, 1, 3, 1], &device);
        let value = Tensor::<4>::from_floats([[[[3.0], [5.0], [10.0]]]], &device);
        let mask = Tensor::<2, Int>::from_ints([[0, 1, 1]], &device);
        let seen = attend(zeros.clone(), zeros, value, 1.0, &AttentionBias::causal(3, Some(&mask), &device));
        let seen: Vec<f32> = seen.into_data().iter().collect();
        assert!(seen[0].is_finite());
        assert_eq!(seen[1..], [5.0, 7.5]);
    }

    #[test]
    fn heads_split_and_merge() {
        let x = Tensor::<1, Int>::arange(0..24, &Device::default()).float().reshape([2, 3, 4]);
        let heads = split_heads(x.clone(), 2);
        assert_eq!(heads.dims(), [2, 2, 3, 2]);
        merge_heads(heads).into_data().assert_eq(&x.into_data(), true);
    }
}
