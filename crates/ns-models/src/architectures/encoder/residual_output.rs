//! The last step of a post-LN sublayer, attention or MLP: output projection, residual addition and LayerNorm.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::{Device, Tensor};

use super::{EncoderConfig, feed_forward::FeedForward};
use crate::context::Context;
use crate::init;
use crate::residual::{Observer, Walk};
use crate::site::{Site, Sublayer, Vector};

/// Output projection of a sublayer and the LayerNorm after its residual addition, HF's `BertSelfOutput` and
/// `BertOutput`.
#[derive(Module, Debug)]
pub(super) struct ResidualOutput {
    dense: FeedForward,
    layer_norm: LayerNorm,
}

impl ResidualOutput {
    pub(super) fn init(input: usize, groups: usize, config: &EncoderConfig, device: &Device) -> Self {
        Self {
            dense: FeedForward::init(input, config.hidden_size, groups, device),
            layer_norm: init::layer_norm(config.hidden_size, config.layer_norm_eps, device),
        }
    }

    /// Projects a sublayer's hidden values to its update of the residual stream.
    ///
    /// # Shapes
    /// - x: `[batch, positions, input]`
    /// - output: `[batch, positions, hidden]`
    pub(super) fn update(&self, x: Tensor<3>, context: &Context) -> Tensor<3> {
        self.dense.forward(x, context)
    }

    /// Computes `LN(hidden + update)`, and reports the update and the new stream to `observer`.
    ///
    /// # Shapes
    /// - hidden, update and output: `[batch, positions, hidden]`
    pub(super) fn add(
        &self,
        (sublayer, layer): (Sublayer, usize),
        hidden: Tensor<3>,
        update: Tensor<3>,
        observer: &mut dyn Observer,
    ) -> Walk {
        let update = observer.visit(Site::new(sublayer, Vector::Update, layer), update)?;
        let stream = self.layer_norm.forward(update + hidden);
        observer.visit(Site::new(sublayer, Vector::Stream, layer), stream)
    }
}
