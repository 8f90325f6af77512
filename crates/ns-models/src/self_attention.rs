//! Self-attention with separate query, key and value projections, used by the BERT families and ViT.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use crate::attention::{AttentionBias, attend_from, merge_heads, split_heads};
use crate::init;
use crate::linear;
use crate::positions::{Positions, at_positions};

/// Query, key and value projections and the attention itself. The output projection belongs to the block.
#[derive(Module, Debug)]
pub(crate) struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    n_heads: usize,
}

/// Sizes of a [`SelfAttention`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct SelfAttentionConfig {
    pub(crate) hidden_size: usize,
    /// Total width of all heads, `n_heads · head_dim`.
    pub(crate) all_heads: usize,
    pub(crate) n_heads: usize,
    pub(crate) bias: bool,
}

impl SelfAttentionConfig {
    pub(crate) fn init(self, device: &Device) -> SelfAttention {
        let projection = || init::linear_with(self.bias, self.hidden_size, self.all_heads, device);
        SelfAttention { query: projection(), key: projection(), value: projection(), n_heads: self.n_heads }
    }
}

impl SelfAttention {
    /// Computes the query, before it is split into heads.
    ///
    /// # Shapes
    /// - hidden: `[batch, positions, hidden]`
    /// - output: `[batch, positions, all_heads]`
    pub(crate) fn query(&self, hidden: Tensor<3>) -> Tensor<3> {
        linear::forward(&self.query, hidden)
    }

    /// Computes attention from some positions, or from all positions for `None`, to the whole sequence.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, all_heads]`
    pub(crate) fn forward(&self, hidden: Tensor<3>, positions: Option<&Positions>, bias: &AttentionBias) -> Tensor<3> {
        let query = self.query(at_positions(hidden.clone(), positions));
        self.forward_query(query, hidden, positions, bias)
    }

    /// Like [`forward`](Self::forward), but with a query that is already computed.
    ///
    /// # Shapes
    /// - query and output: `[batch, positions, all_heads]`
    /// - hidden: `[batch, seq, hidden]`
    pub(crate) fn forward_query(
        &self,
        query: Tensor<3>,
        hidden: Tensor<3>,
        positions: Option<&Positions>,
        bias: &AttentionBias,
    ) -> Tensor<3> {
        let heads = |projected: Tensor<3>| split_heads(projected, self.n_heads);
        let query = heads(query);
        let [_, _, _, head_dim] = query.dims();
        let (key, value) =
            (heads(linear::forward(&self.key, hidden.clone())), heads(linear::forward(&self.value, hidden)));
        merge_heads(attend_from(positions, query, key, value, (head_dim as f64).powf(-0.5), bias))
    }
}
