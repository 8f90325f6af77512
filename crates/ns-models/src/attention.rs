//! Scaled dot-product attention and its masks. All models compute attention with these functions.

use burn::tensor::{Bool, Device, Int, Tensor};

use crate::kernels::biased_softmax;
use crate::positions::Positions;

/// Added to the score of a masked key, as in HF (`torch.finfo(float32).min`).
const MASKED: f32 = f32::MIN;

/// An additive attention mask, `[1 or batch, 1 or heads, 1 or queries, keys]`. The default masks nothing.
///
/// As in HF, a masked key adds `f32::MIN` to its score, not −∞. A query for which every key is masked therefore attends
/// uniformly instead of producing NaN.
#[derive(Clone, Debug, Default)]
pub struct AttentionBias(Option<Tensor<4>>);

impl AttentionBias {
    /// Creates a causal mask that also masks the padding of `attention_mask`.
    ///
    /// # Shapes
    /// - attention_mask: `[batch, seq]`, 1 for real tokens and 0 for padding
    pub fn causal(seq: usize, attention_mask: Option<&Tensor<2, Int>>, device: &Device) -> Self {
        Self::from_masked(Tensor::<2, Bool>::tril_mask([seq, seq], 0, device), MASKED).and_padding(attention_mask)
    }

    /// Like [`causal`](Self::causal), but the scores of later keys become −∞.
    ///
    /// A query for which every visible key is padding then attends uniformly to itself and the keys before it, and
    /// never to later keys. HF's GPT-Neo and GPT-NeoX behave like this, because they apply the causal mask twice.
    ///
    /// # Shapes
    /// - attention_mask: `[batch, seq]`, 1 for real tokens and 0 for padding
    pub fn strictly_causal(seq: usize, attention_mask: Option<&Tensor<2, Int>>, device: &Device) -> Self {
        Self::causal(seq, attention_mask, device).and_scores(infinite_causal_scores(seq, device))
    }

    /// Creates a [strictly causal](Self::strictly_causal) mask in which each query sees the last `window` tokens,
    /// including its own. It also masks the padding of `attention_mask`.
    ///
    /// # Shapes
    /// - attention_mask: `[batch, seq]`, 1 for real tokens and 0 for padding
    pub fn local(seq: usize, window: usize, attention_mask: Option<&Tensor<2, Int>>, device: &Device) -> Self {
        let too_far = Tensor::<2, Bool>::triu_mask([seq, seq], 1 - window.min(seq) as i64, device);
        Self::from_masked(too_far, MASKED).and_padding(attention_mask).and_scores(infinite_causal_scores(seq, device))
    }

    /// Creates a mask for bidirectional attention, which masks only the padding of `attention_mask`.
    ///
    /// # Shapes
    /// - attention_mask: `[batch, seq]`, 1 for real tokens and 0 for padding
    pub fn padding(attention_mask: Option<&Tensor<2, Int>>) -> Self {
        Self::default().and_padding(attention_mask)
    }

    /// Adds `scores` to this mask, with broadcasting. Relative position scores are one example.
    ///
    /// # Shapes
    /// - scores: `[1 or batch, 1 or heads, 1 or queries, keys]`
    pub fn and_scores(self, scores: Tensor<4>) -> Self {
        Self(Some(match self.0 {
            Some(bias) => bias + scores,
            None => scores,
        }))
    }

    /// Selects the rows of the given queries.
    pub fn select_queries(&self, queries: &Positions) -> Self {
        let select_queries = |bias: Tensor<4>| match bias.dims()[2] {
            1 => bias,
            _ => queries.select_queries(bias),
        };
        Self(self.0.clone().map(select_queries))
    }

    fn from_masked(masked: Tensor<2, Bool>, score: f32) -> Self {
        Self(Some(scores_where(masked, score)))
    }

    fn and_padding(self, attention_mask: Option<&Tensor<2, Int>>) -> Self {
        let Some(mask) = attention_mask else { return self };
        let [batch, seq] = mask.dims();
        self.and_scores(((mask.clone().float() * -1.0 + 1.0) * MASKED).reshape([batch, 1, 1, seq]))
    }
}

/// A causal mask that adds −∞ to the scores of later keys, `[1, 1, seq, seq]`.
fn infinite_causal_scores(seq: usize, device: &Device) -> Tensor<4> {
    scores_where(Tensor::<2, Bool>::tril_mask([seq, seq], 0, device), f32::NEG_INFINITY)
}

/// `score` where `masked` is true, 0 elsewhere.
///
/// # Shapes
/// - masked: `[queries, keys]`
/// - output: `[1, 1, queries, keys]`
fn scores_where(masked: Tensor<2, Bool>, score: f32) -> Tensor<4> {
    let [queries, keys] = masked.dims();
    let zeros = Tensor::<2>::zeros([queries, keys], &masked.device());
    zeros.mask_fill(masked, score).reshape([1, 1, queries, keys])
}

/// Scaled dot-product attention, `softmax(scale · q kᵀ + bias) v` (Vaswani et al. 2017, equation 1).
///
/// # Shapes
/// - query: `[batch, heads, queries, head_dim]`
/// - key, value: `[batch, heads, keys, head_dim]`
/// - output: `[batch, heads, queries, head_dim]`
pub fn attend(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, scale: f64, bias: &AttentionBias) -> Tensor<4> {
    let scores = query.matmul(key.swap_dims(2, 3));
    let bias = bias.0.clone().unwrap_or_else(|| Tensor::zeros([1; 4], &scores.device()));
    biased_softmax(scores, bias, scale).matmul(value)
}

/// Like [`attend`], but only for queries at the given positions, or at all positions if `None`. The keys and values are
/// those of the whole sequence.
///
/// `query` contains only the queries at these positions; `bias` is the mask of all queries.
///
/// # Shapes
/// - query and output: `[batch, heads, positions, head_dim]`
/// - key, value: `[batch, heads, seq, head_dim]`
pub fn attend_from(
    positions: Option<&Positions>,
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    scale: f64,
    bias: &AttentionBias,
) -> Tensor<4> {
    match positions {
        None => attend(query, key, value, scale, bias),
        Some(positions) => attend(query, key, value, scale, &bias.select_queries(positions)),
    }
}

/// Splits the hidden dimension into attention heads.
///
/// # Shapes
/// - x: `[batch, seq, hidden]`
/// - output: `[batch, heads, seq, hidden / heads]`
pub fn split_heads(x: Tensor<3>, n_heads: usize) -> Tensor<4> {
    let [batch, seq, hidden] = x.dims();
    x.reshape([batch, seq, n_heads, hidden / n_heads]).swap_dims(1, 2)
}

/// Concatenates the attention heads; the inverse of [`split_heads`].
///
/// # Shapes
/// - x: `[batch, heads, seq, head_dim]`
/// - output: `[batch, seq, heads · head_dim]`
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
