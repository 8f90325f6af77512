//! A post-LN block, HF's `BertLayer`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{EncoderConfig, attention::EncoderAttention, feed_forward::FeedForward, residual_output::ResidualOutput};
use crate::activation::Activation;
use crate::block::Block;
use crate::context::Context;
use crate::site::Sublayer;

#[derive(Module, Debug)]
pub(super) struct EncoderLayer {
    attention: EncoderAttention,
    intermediate: Intermediate,
    output: ResidualOutput,
}

/// First half of the MLP: `act(dense(x))`, HF's `BertIntermediate`.
#[derive(Module, Debug)]
struct Intermediate {
    dense: FeedForward,
    #[module(skip)]
    activation: Activation,
}

impl EncoderLayer {
    pub(super) fn init(config: &EncoderConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            attention: EncoderAttention::init(config, device),
            intermediate: Intermediate {
                dense: FeedForward::init(hidden, inner, config.num_groups, device),
                activation: config.hidden_act,
            },
            output: ResidualOutput::init(inner, config.num_groups, config, device),
        }
    }
}

impl Block for EncoderLayer {
    fn attention(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        self.attention.forward(layer, hidden, context)
    }

    fn mlp(&self, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let Intermediate { dense, activation } = &self.intermediate;
        self.output.dense.forward(activation.forward(dense.forward(hidden, context)), context)
    }

    fn add(&self, sublayer: Sublayer, hidden: Tensor<3>, update: Tensor<3>) -> Tensor<3> {
        let output = match sublayer {
            Sublayer::Attn => &self.attention.output,
            Sublayer::Mlp => &self.output,
        };
        output.layer_norm.forward(update + hidden)
    }
}
