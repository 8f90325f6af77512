//! GPT-Neo's self-attention, global or local, HF's `GPTNeoSelfAttention`.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::{GptNeoAttention, GptNeoConfig};
use crate::architectures::gpt::Attention;
use crate::attention::{attend_from, merge_heads, split_heads};
use crate::context::Context;
use crate::init;
use crate::linear;

/// Causal self-attention with its output projection. `attn.attention` in HF's checkpoints.
#[derive(Module, Debug)]
pub(super) struct GptNeoSelfAttention {
    k_proj: Linear,
    v_proj: Linear,
    q_proj: Linear,
    out_proj: Linear,
    n_heads: usize,
    #[module(skip)]
    kind: GptNeoAttention,
}

impl GptNeoSelfAttention {
    pub(super) fn init(config: &GptNeoConfig, kind: GptNeoAttention, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let projection = || init::linear_with(false, hidden, hidden, device);
        Self {
            k_proj: projection(),
            v_proj: projection(),
            q_proj: projection(),
            out_proj: init::linear(hidden, hidden, device),
            n_heads: config.num_heads,
            kind,
        }
    }
}

impl Attention for GptNeoSelfAttention {
    fn forward(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let bias = match (self.kind, &context.local_attention_bias) {
            (GptNeoAttention::Local, Some(local)) => local,
            _ => &context.attention_bias,
        };
        let heads = |projection, hidden| split_heads(linear::forward(projection, hidden, context), self.n_heads);
        let query = heads(&self.q_proj, context.select(layer, hidden.clone()));
        let (key, value) = (heads(&self.k_proj, hidden.clone()), heads(&self.v_proj, hidden));
        let attended = attend_from(context.positions_of(layer), query, key, value, 1.0, bias);
        linear::forward(&self.out_proj, merge_heads(attended), context)
    }
}
