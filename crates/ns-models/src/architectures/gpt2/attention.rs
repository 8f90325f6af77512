//! GPT-2's self-attention with a fused query-key-value projection, HF's `GPT2Attention`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Gpt2Config, conv1d::Conv1D};
use crate::architectures::gpt::Attention;
use crate::attention::{attend_from, merge_heads, split_heads};
use crate::context::Context;
use crate::init;
use crate::linear;
use crate::positions::Positions;

/// Causal self-attention with its output projection.
#[derive(Module, Debug)]
pub(super) struct Gpt2Attention {
    c_attn: Conv1D,
    c_proj: Conv1D,
    n_heads: usize,
    scale: f64,
}

impl Gpt2Attention {
    pub(super) fn init(config: &Gpt2Config, layer: usize, device: &Device) -> Self {
        let hidden = config.n_embd;
        let head_dim = (hidden / config.n_head) as f64;
        let size_scale = if config.scale_attn_weights { head_dim.powf(-0.5) } else { 1.0 };
        let layer_scale = if config.scale_attn_by_inverse_layer_idx { 1.0 / (layer + 1) as f64 } else { 1.0 };
        Self {
            c_attn: init::linear(hidden, 3 * hidden, device).into(),
            c_proj: init::linear(hidden, hidden, device).into(),
            n_heads: config.n_head,
            scale: size_scale * layer_scale,
        }
    }

    /// Computes queries at the given positions, or at all, and keys and values at all positions.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: query `[batch, heads, positions, head_dim]`, key and value `[batch, heads, seq, head_dim]`
    fn query_key_value(&self, hidden: Tensor<3>, positions: Option<&Positions>, context: &Context) -> [Tensor<4>; 3] {
        let n_heads = self.n_heads;
        let Some(positions) = positions else {
            let heads = split_heads(linear::forward(&self.c_attn, hidden, context), 3 * n_heads);
            return [0, 1, 2].map(|part| heads.clone().narrow(1, part * n_heads, n_heads));
        };
        let ([_, _, width], outputs) = (hidden.dims(), linear::Outputs::new(&self.c_attn, context));
        let query = split_heads(outputs.range(0..width, positions.select(hidden.clone())), n_heads);
        // Key and value are separate products: the gradient of a slice of one product would be padded with zeros.
        let heads = |part: usize| split_heads(outputs.range(part * width..(part + 1) * width, hidden.clone()), n_heads);
        [query, heads(1), heads(2)]
    }
}

impl Attention for Gpt2Attention {
    fn forward(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let positions = context.positions_of(layer);
        let [query, key, value] = self.query_key_value(hidden, positions, context);
        let attended = attend_from(positions, query, key, value, self.scale, &context.attention_bias);
        linear::forward(&self.c_proj, merge_heads(attended), context)
    }
}
