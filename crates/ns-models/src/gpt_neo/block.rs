//! A pre-LN block, HF's `GPTNeoBlock`.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::GptNeoConfig;
use crate::activation::Activation;
use crate::attention::{AttentionBias, attend_from, merge_heads, split_heads};
use crate::init;
use crate::linear;
use crate::positions::{Positions, at_positions};
use crate::residual::{Observer, Walk, pre_ln_block, pre_ln_mlp};

#[derive(Module, Debug)]
pub(super) struct GptNeoBlock {
    ln_1: LayerNorm,
    /// `attn.attention` in HF's checkpoints.
    attn: GptNeoSelfAttention,
    ln_2: LayerNorm,
    mlp: GptNeoMlp,
}

/// Causal self-attention with its output projection, HF's `GPTNeoSelfAttention`.
#[derive(Module, Debug)]
struct GptNeoSelfAttention {
    k_proj: Linear,
    v_proj: Linear,
    q_proj: Linear,
    out_proj: Linear,
    n_heads: usize,
}

/// `c_proj(act(c_fc(x)))`, HF's `GPTNeoMLP`.
#[derive(Module, Debug)]
struct GptNeoMlp {
    c_fc: Linear,
    c_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl GptNeoBlock {
    pub(super) fn init(config: &GptNeoConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let projection = || init::linear_with(false, hidden, hidden, device);
        Self {
            ln_1: init::layer_norm(hidden, config.layer_norm_epsilon, device),
            attn: GptNeoSelfAttention {
                k_proj: projection(),
                v_proj: projection(),
                q_proj: projection(),
                out_proj: init::linear(hidden, hidden, device),
                n_heads: config.num_heads,
            },
            ln_2: init::layer_norm(hidden, config.layer_norm_epsilon, device),
            mlp: GptNeoMlp {
                c_fc: init::linear(hidden, config.inner_size(), device),
                c_proj: init::linear(config.inner_size(), hidden, device),
                activation: config.activation_function,
            },
        }
    }

    /// Runs the block at the given positions, or at all.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    pub(super) fn forward(
        &self,
        layer: usize,
        hidden: Tensor<3>,
        positions: Option<&Positions>,
        bias: &AttentionBias,
        observer: &mut dyn Observer,
    ) -> Walk {
        let attention = |hidden| self.attn.forward(self.ln_1.forward(hidden), positions, bias);
        let mlp = |hidden| self.mlp.forward(self.ln_2.forward(hidden));
        pre_ln_block(layer, hidden, positions, observer, attention, mlp)
    }

    /// Runs the MLP sublayer, which follows the attention sublayer.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    pub(super) fn after_attention(&self, layer: usize, hidden: Tensor<3>, observer: &mut dyn Observer) -> Walk {
        pre_ln_mlp(layer, hidden, observer, |hidden| self.mlp.forward(self.ln_2.forward(hidden)))
    }
}

impl GptNeoSelfAttention {
    /// Attends from the given positions, or from all, to the whole sequence.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    fn forward(&self, hidden: Tensor<3>, positions: Option<&Positions>, bias: &AttentionBias) -> Tensor<3> {
        let heads = |projection, hidden| split_heads(linear::forward(projection, hidden), self.n_heads);
        let query = heads(&self.q_proj, at_positions(hidden.clone(), positions));
        let (key, value) = (heads(&self.k_proj, hidden.clone()), heads(&self.v_proj, hidden));
        linear::forward(&self.out_proj, merge_heads(attend_from(positions, query, key, value, 1.0, bias)))
    }
}

impl GptNeoMlp {
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        linear::forward(&self.c_proj, self.activation.forward(linear::forward(&self.c_fc, hidden)))
    }
}
