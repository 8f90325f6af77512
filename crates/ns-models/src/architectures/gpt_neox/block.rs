//! A block in its sequential (pre-LN) or parallel form, HF's `GPTNeoXLayer`.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::GptNeoXConfig;
use crate::activation::Activation;
use crate::attention::{attend_from, merge_heads, split_heads};
use crate::block::Block;
use crate::context::Context;
use crate::init;
use crate::linear;
use crate::positions::Positions;

#[derive(Module, Debug)]
pub(super) struct GptNeoXBlock {
    input_layernorm: LayerNorm,
    attention: GptNeoXAttention,
    post_attention_layernorm: LayerNorm,
    mlp: GptNeoXMlp,
    parallel: bool,
}

/// Causal self-attention with its output projection, HF's `GPTNeoXAttention`.
#[derive(Module, Debug)]
struct GptNeoXAttention {
    query_key_value: Linear,
    dense: Linear,
    n_heads: usize,
}

/// `dense_4h_to_h(act(dense_h_to_4h(x)))`, HF's `GPTNeoXMLP`.
#[derive(Module, Debug)]
struct GptNeoXMlp {
    dense_h_to_4h: Linear,
    dense_4h_to_h: Linear,
    #[module(skip)]
    activation: Activation,
}

impl GptNeoXBlock {
    pub(super) fn init(config: &GptNeoXConfig, device: &Device) -> Self {
        let (hidden, inner, bias) = (config.hidden_size, config.intermediate_size, config.attention_bias);
        Self {
            input_layernorm: init::layer_norm(hidden, config.layer_norm_eps, device),
            attention: GptNeoXAttention {
                query_key_value: init::linear_with(bias, hidden, 3 * hidden, device),
                dense: init::linear_with(bias, hidden, hidden, device),
                n_heads: config.num_attention_heads,
            },
            post_attention_layernorm: init::layer_norm(hidden, config.layer_norm_eps, device),
            mlp: GptNeoXMlp {
                dense_h_to_4h: init::linear(hidden, inner, device),
                dense_4h_to_h: init::linear(inner, hidden, device),
                activation: config.hidden_act,
            },
            parallel: config.use_parallel_residual,
        }
    }
}

impl Block for GptNeoXBlock {
    fn attention(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        self.attention.forward(layer, self.input_layernorm.forward(hidden), context)
    }

    fn mlp(&self, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let GptNeoXMlp { dense_h_to_4h, dense_4h_to_h, activation } = &self.mlp;
        let normed = self.post_attention_layernorm.forward(hidden);
        let inner = activation.forward(linear::forward(dense_h_to_4h, normed, context));
        linear::forward(dense_4h_to_h, inner, context)
    }

    fn is_parallel(&self) -> bool {
        self.parallel
    }
}

impl GptNeoXAttention {
    /// Attends from the positions at which block `layer` is computed to the whole sequence.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    fn forward(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let positions = context.positions_of(layer);
        let [query, key, value] = self.query_key_value(hidden, positions, context);
        let [_, _, _, head_dim] = query.dims();
        let (query, key) = match (&context.rotary, positions) {
            (None, _) => (query, key),
            (Some(rotary), None) => (rotary.turn(query), rotary.turn(key)),
            (Some(rotary), Some(positions)) => (rotary.select(positions).turn(query), rotary.turn(key)),
        };
        let scale = (head_dim as f64).powf(-0.5);
        let attended = attend_from(positions, query, key, value, scale, &context.attention_bias);
        linear::forward(&self.dense, merge_heads(attended), context)
    }

    /// Computes queries at the given positions, or at all, and keys and values at all positions. The outputs of the
    /// fused projection are grouped by head.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: query `[batch, heads, positions, head_dim]`, key and value `[batch, heads, seq, head_dim]`
    fn query_key_value(&self, hidden: Tensor<3>, positions: Option<&Positions>, context: &Context) -> [Tensor<4>; 3] {
        let ([_, _, width], n_heads) = (hidden.dims(), self.n_heads);
        let head_dim = width / n_heads;
        let part = |heads: &Tensor<4>, part: usize| heads.clone().narrow(3, part * head_dim, head_dim);
        let Some(positions) = positions else {
            let heads = split_heads(linear::forward(&self.query_key_value, hidden, context), n_heads);
            return [0, 1, 2].map(|index| part(&heads, index));
        };
        let outputs = linear::Outputs::new(&self.query_key_value, context);
        // Separate products, because the gradient of a slice of one product would be padded with zeros.
        let heads = |part: usize, hidden| {
            split_heads(outputs.range_of_groups(n_heads, part * head_dim..(part + 1) * head_dim, hidden), n_heads)
        };
        [heads(0, positions.select(hidden.clone())), heads(1, hidden.clone()), heads(2, hidden)]
    }
}
