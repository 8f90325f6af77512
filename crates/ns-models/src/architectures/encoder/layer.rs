//! A post-LN block, HF's `BertLayer`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{EncoderConfig, attention::EncoderAttention, feed_forward::FeedForward, residual_output::ResidualOutput};
use crate::activation::Activation;
use crate::context::Context;
use crate::residual::{Observer, Walk};
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
        let update = self.attention.update(layer, hidden.clone(), context);
        let (at, hidden) = ((Sublayer::Attn, layer), context.select(layer, hidden));
        let hidden = self.attention.output.add(at, hidden, update, observer)?;
        self.after_attention(layer, hidden, context, observer)
    }

    /// Runs the MLP sublayer, which follows the attention sublayer.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    pub(super) fn after_attention(
        &self,
        layer: usize,
        hidden: Tensor<3>,
        context: &Context,
        observer: &mut dyn Observer,
    ) -> Walk {
        let Intermediate { dense, activation } = &self.intermediate;
        let inner = activation.forward(dense.forward(hidden.clone(), context));
        let update = self.output.update(inner, context);
        self.output.add((Sublayer::Mlp, layer), hidden, update, observer)
    }
}
