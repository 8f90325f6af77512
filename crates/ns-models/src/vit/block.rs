//! A pre-LN block, HF's `ViTLayer`.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::VitConfig;
use crate::activation::Activation;
use crate::init;
use crate::linear;
use crate::residual::{Observer, Walk, pre_ln_block, pre_ln_mlp};
use crate::self_attention::{SelfAttention, SelfAttentionConfig};
use crate::transformer::Context;

#[derive(Module, Debug)]
pub(super) struct VitBlock {
    layernorm_before: LayerNorm,
    attention: SelfAttention,
    attention_output: Linear,
    layernorm_after: LayerNorm,
    intermediate: Linear,
    output: Linear,
    #[module(skip)]
    activation: Activation,
}

impl VitBlock {
    pub(super) fn init(config: &VitConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let attention = SelfAttentionConfig {
            hidden_size: hidden,
            all_heads: hidden,
            n_heads: config.num_attention_heads,
            bias: config.qkv_bias,
        };
        Self {
            layernorm_before: init::layer_norm(hidden, config.layer_norm_eps, device),
            attention: attention.init(device),
            attention_output: init::linear(hidden, hidden, device),
            layernorm_after: init::layer_norm(hidden, config.layer_norm_eps, device),
            intermediate: init::linear(hidden, inner, device),
            output: init::linear(inner, hidden, device),
            activation: config.hidden_act,
        }
    }

    /// Runs the block, at the positions that the context asks for.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    pub(super) fn forward(
        &self,
        layer: usize,
        hidden: Tensor<3>,
        context: &Context,
        observer: &mut dyn Observer,
    ) -> Walk {
        let positions = context.positions_of(layer);
        let attention = |hidden| {
            let normed = self.layernorm_before.forward(hidden);
            linear::forward(&self.attention_output, self.attention.forward(normed, positions, &context.attention_bias))
        };
        pre_ln_block(layer, hidden, positions, observer, attention, |hidden| self.mlp(hidden))
    }

    /// Runs the MLP sublayer, which follows the attention sublayer.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    pub(super) fn after_attention(&self, layer: usize, hidden: Tensor<3>, observer: &mut dyn Observer) -> Walk {
        pre_ln_mlp(layer, hidden, observer, |hidden| self.mlp(hidden))
    }

    /// The MLP with the LayerNorm before it.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    fn mlp(&self, hidden: Tensor<3>) -> Tensor<3> {
        let normed = self.layernorm_after.forward(hidden);
        linear::forward(&self.output, self.activation.forward(linear::forward(&self.intermediate, normed)))
    }
}
