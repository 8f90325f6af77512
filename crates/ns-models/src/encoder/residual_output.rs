//! What ends both halves of a post-LN block: a projection, the addition to the residual stream, and a LayerNorm.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::{Device, Tensor};

use super::{EncoderConfig, feed_forward::FeedForward};
use crate::init;
use crate::residual::{Observer, Walk};
use crate::site::{Site, Sublayer, Vector};

/// A projection onto the residual stream, and the LayerNorm after the addition.
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

    pub(super) fn update(&self, x: Tensor<3>) -> Tensor<3> {
        self.dense.forward(x)
    }

    /// Adds an update to the residual stream, and reports both.
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
