//! A pre-LN block, HF's `GPT2Block`.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::{Gpt2Config, attention::Gpt2Attention};
use crate::activation::Activation;
use crate::attention::AttentionBias;
use crate::init;
use crate::linear;
use crate::positions::Positions;
use crate::residual::{Observer, Walk, pre_ln_block, pre_ln_mlp};

#[derive(Module, Debug)]
pub(crate) struct Gpt2Block {
    ln_1: LayerNorm,
    attn: Gpt2Attention,
    ln_2: LayerNorm,
    mlp: Gpt2Mlp,
}

/// `c_proj(act(c_fc(x)))`, HF's `GPT2MLP`.
#[derive(Module, Debug)]
struct Gpt2Mlp {
    c_fc: Linear,
    c_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Gpt2Block {
    pub(crate) fn init(config: &Gpt2Config, layer: usize, device: &Device) -> Self {
        let mlp = Gpt2Mlp {
            c_fc: init::linear(config.n_embd, config.inner_size(), device),
            c_proj: init::linear(config.inner_size(), config.n_embd, device),
            activation: config.activation_function,
        };
        Self {
            ln_1: init::layer_norm(config.n_embd, config.layer_norm_epsilon, device),
            attn: Gpt2Attention::init(config, layer, device),
            ln_2: init::layer_norm(config.n_embd, config.layer_norm_epsilon, device),
            mlp,
        }
    }

    /// Runs the block at the given positions, or at all.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    pub(crate) fn forward(
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
    pub(crate) fn after_attention(&self, layer: usize, hidden: Tensor<3>, observer: &mut dyn Observer) -> Walk {
        pre_ln_mlp(layer, hidden, observer, |hidden| self.mlp.forward(self.ln_2.forward(hidden)))
    }
}

impl Gpt2Mlp {
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        linear::forward(&self.c_proj, self.activation.forward(linear::forward(&self.c_fc, hidden)))
    }
}
