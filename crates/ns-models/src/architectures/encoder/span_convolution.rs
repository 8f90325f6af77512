//! ConvBERT's span-based dynamic convolution ([Jiang et al. 2020](https://arxiv.org/abs/2008.02496), section 3.3).
//!
//! Each position and head has a convolution kernel of its own, computed from the query and a span of keys around it.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Initializer, Linear, PaddingConfig1d};
use burn::tensor::{Device, Tensor, activation::softmax};

use super::EncoderConfig;
use crate::context::Context;
use crate::{init, linear};

#[derive(Module, Debug)]
pub(super) struct SpanConvolution {
    key_conv_attn_layer: SeparableConv1d,
    conv_kernel_layer: Linear,
    conv_out_layer: Linear,
    n_heads: usize,
    kernel_size: usize,
}

/// Depthwise convolution over positions, then pointwise convolution over channels: HF's `SeparableConv1D`.
#[derive(Module, Debug)]
struct SeparableConv1d {
    depthwise: Conv1d,
    pointwise: Conv1d,
    /// `[all_heads, 1]`.
    bias: Param<Tensor<2>>,
}

impl SpanConvolution {
    pub(super) fn init(config: &EncoderConfig, all_heads: usize, device: &Device) -> Self {
        let (hidden, n_heads, kernel_size) = (config.hidden_size, config.attending_heads(), config.conv_kernel_size);
        Self {
            key_conv_attn_layer: SeparableConv1d::init(hidden, all_heads, kernel_size, device),
            conv_kernel_layer: init::linear(all_heads, n_heads * kernel_size, device),
            conv_out_layer: init::linear(hidden, all_heads, device),
            n_heads,
            kernel_size,
        }
    }

    /// Convolves the values of all heads. Padding is treated like any other token, because HF masks attention only.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - query and output: `[batch, seq, all_heads]`
    pub(super) fn forward(&self, hidden: Tensor<3>, query: Tensor<3>, context: &Context) -> Tensor<3> {
        let ([batch, seq, all_heads], heads) = (query.dims(), self.n_heads);
        let span = self.key_conv_attn_layer.forward(hidden.clone());
        let kernels = linear::forward(&self.conv_kernel_layer, span * query, context).reshape([
            batch,
            seq,
            heads,
            self.kernel_size,
        ]);
        let kernels = softmax(kernels, 3);
        let padding = (self.kernel_size - 1) / 2;
        let values = linear::forward(&self.conv_out_layer, hidden, context).pad([(padding, padding), (0, 0)], 0.0);
        let terms = (0..self.kernel_size).map(|offset| {
            let values = values.clone().slice_dim(1, offset..offset + seq);
            values.reshape([batch, seq, heads, all_heads / heads]) * kernels.clone().narrow(3, offset, 1)
        });
        let zeros = Tensor::zeros([batch, seq, heads, all_heads / heads], &values.device());
        terms.fold(zeros, |sum, term| sum + term).reshape([batch, seq, all_heads])
    }
}

impl SeparableConv1d {
    fn init(input: usize, output: usize, kernel_size: usize, device: &Device) -> Self {
        let conv = |config: Conv1dConfig| config.with_bias(false).with_initializer(Initializer::Zeros).init(device);
        let (half, groups) = (kernel_size / 2, input);
        let depthwise = Conv1dConfig::new(input, input, kernel_size).with_groups(groups);
        Self {
            depthwise: conv(depthwise.with_padding(PaddingConfig1d::Explicit(half, half))),
            pointwise: conv(Conv1dConfig::new(input, output, 1)),
            bias: Initializer::Zeros.init([output, 1], device),
        }
    }

    /// # Shapes
    /// - hidden: `[batch, seq, input]`
    /// - output: `[batch, seq, output]`
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let channels = self.pointwise.forward(self.depthwise.forward(hidden.swap_dims(1, 2)));
        (channels + self.bias.val().unsqueeze()).swap_dims(1, 2)
    }
}
