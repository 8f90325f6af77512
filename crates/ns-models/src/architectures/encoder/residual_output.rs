//! The last step of a post-LN sublayer, attention or MLP: output projection, residual addition and LayerNorm.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::Device;

use super::{EncoderConfig, feed_forward::FeedForward};
use crate::init;

/// Output projection of a sublayer and the LayerNorm after its residual addition, HF's `BertSelfOutput` and
/// `BertOutput`.
#[derive(Module, Debug)]
pub(super) struct ResidualOutput {
    pub(super) dense: FeedForward,
    pub(super) layer_norm: LayerNorm,
}

impl ResidualOutput {
    pub(super) fn init(input: usize, groups: usize, config: &EncoderConfig, device: &Device) -> Self {
        Self {
            dense: FeedForward::init(input, config.hidden_size, groups, device),
            layer_norm: init::layer_norm(config.hidden_size, config.layer_norm_eps, device),
        }
    }
}
