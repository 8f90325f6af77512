//! A pre-LN block, HF's `ViTLayer`.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::VitConfig;
use crate::activation::Activation;
use crate::architectures::self_attention::SelfAttention;
use crate::block::Block;
use crate::context::Context;
use crate::init;
use crate::linear;

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
        Self {
            layernorm_before: init::layer_norm(hidden, config.layer_norm_eps, device),
            attention: SelfAttention::init([hidden; 2], config.num_attention_heads, config.qkv_bias, device),
            attention_output: init::linear(hidden, hidden, device),
            layernorm_after: init::layer_norm(hidden, config.layer_norm_eps, device),
            intermediate: init::linear(hidden, inner, device),
            output: init::linear(inner, hidden, device),
            activation: config.hidden_act,
        }
    }
}

impl Block for VitBlock {
    fn attention(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let attended = self.attention.forward(layer, self.layernorm_before.forward(hidden), context);
        linear::forward(&self.attention_output, attended, context)
    }

    fn mlp(&self, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let normed = self.layernorm_after.forward(hidden);
        let inner = self.activation.forward(linear::forward(&self.intermediate, normed, context));
        linear::forward(&self.output, inner, context)
    }
}
