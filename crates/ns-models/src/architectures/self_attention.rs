//! Self-attention with separate query, key and value projections, used by the BERT families and ViT.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use crate::attention::{attend_from, merge_heads, split_heads};
use crate::context::Context;
use crate::init;
use crate::linear;

/// Query, key and value projections and the attention itself. The output projection belongs to the block.
#[derive(Module, Debug)]
pub(super) struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    n_heads: usize,
}

impl SelfAttention {
    /// Creates placeholders. `all_heads` is the total width of all heads, `n_heads · head_dim`.
    pub(super) fn init([hidden, all_heads]: [usize; 2], n_heads: usize, bias: bool, device: &Device) -> Self {
        let projection = || init::linear_with(bias, hidden, all_heads, device);
        Self { query: projection(), key: projection(), value: projection(), n_heads }
    }

    /// Computes the query, before it is split into heads.
    ///
    /// # Shapes
    /// - hidden: `[batch, positions, hidden]`
    /// - output: `[batch, positions, all_heads]`
    pub(super) fn query(&self, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        linear::forward(&self.query, hidden, context)
    }

    /// Computes attention from the positions at which block `layer` is computed to the whole sequence.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, all_heads]`
    pub(super) fn forward(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let query = self.query(context.select(layer, hidden.clone()), context);
        self.forward_query(layer, query, hidden, context)
    }

    /// Like [`forward`](Self::forward), but with a query that is already computed.
    ///
    /// # Shapes
    /// - query and output: `[batch, positions, all_heads]`
    /// - hidden: `[batch, seq, hidden]`
    pub(super) fn forward_query(
        &self,
        layer: usize,
        query: Tensor<3>,
        hidden: Tensor<3>,
        context: &Context,
    ) -> Tensor<3> {
        let heads = |projected: Tensor<3>| split_heads(projected, self.n_heads);
        let project = |projection, hidden| heads(linear::forward(projection, hidden, context));
        let query = heads(query);
        let [_, _, _, head_dim] = query.dims();
        let (key, value) = (project(&self.key, hidden.clone()), project(&self.value, hidden));
        let (positions, scale) = (context.positions_of(layer), (head_dim as f64).powf(-0.5));
        merge_heads(attend_from(positions, query, key, value, scale, &context.attention_bias))
    }
}
