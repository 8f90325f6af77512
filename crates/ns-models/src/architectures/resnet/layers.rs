//! Convolutions, residual layers and stages: HF's `ResNetConvLayer`, `ResNetBasicLayer`, `ResNetBottleNeckLayer` and
//! `ResNetStage`.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use super::{ResNetConfig, ResNetLayerType, config::REDUCTION};
use crate::activation::Activation;

/// A convolution without a bias, followed by a batch norm.
#[derive(Module, Debug)]
pub(super) struct ConvNorm {
    pub(super) convolution: Conv2d,
    normalization: BatchNorm,
}

impl ConvNorm {
    pub(super) fn init(input: usize, output: usize, kernel_size: usize, stride: usize, device: &Device) -> Self {
        let padding = kernel_size / 2;
        let convolution = Conv2dConfig::new([input, output], [kernel_size; 2])
            .with_stride([stride; 2])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_bias(false)
            .with_initializer(Initializer::Zeros)
            .init(device);
        // Evaluation mode; the docs of `ResNet` say how to train with batch statistics.
        let normalization =
            BatchNorm { training: Param::from_bool(false), ..BatchNormConfig::new(output).init(device) };
        Self { convolution, normalization }
    }

    /// Normalised output of the convolution.
    ///
    /// # Shapes
    /// - input: `[batch, in, height, width]`
    /// - output: `[batch, out, ⌈height / stride⌉, ⌈width / stride⌉]`
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.normalization.forward(self.convolution.forward(input))
    }
}

/// Consecutive residual layers with the same number of output channels.
#[derive(Module, Debug)]
pub(super) struct ResNetStage {
    layers: Vec<ResNetLayer>,
}

impl ResNetStage {
    pub(super) fn init(config: &ResNetConfig, stage: usize, device: &Device) -> Self {
        let input = if stage == 0 { config.embedding_size } else { config.hidden_sizes[stage - 1] };
        let output = config.hidden_sizes[stage];
        let stride = if stage == 0 && !config.downsample_in_first_stage { 1 } else { 2 };
        let layer = |layer| match layer {
            0 => ResNetLayer::init(config, input, output, stride, device),
            _ => ResNetLayer::init(config, output, output, 1, device),
        };
        Self { layers: (0..config.depths[stage]).map(layer).collect() }
    }

    /// Runs all layers of the stage.
    ///
    /// # Shapes
    /// - input: `[batch, in, height, width]`
    /// - output: `[batch, out, ⌈height / stride⌉, ⌈width / stride⌉]`
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(input, |hidden, layer| layer.forward(hidden))
    }
}

/// A residual layer: `act(shortcut(x) + layer(x))`.
#[derive(Module, Debug)]
struct ResNetLayer {
    /// `None` if the layer keeps width and resolution; then the shortcut is the identity.
    shortcut: Option<ConvNorm>,
    layer: Vec<ConvNorm>,
    #[module(skip)]
    activation: Activation,
}

impl ResNetLayer {
    fn init(config: &ResNetConfig, input: usize, output: usize, stride: usize, device: &Device) -> Self {
        let conv = |input, output, kernel_size, stride| ConvNorm::init(input, output, kernel_size, stride, device);
        let layer = match config.layer_type {
            ResNetLayerType::Basic => vec![conv(input, output, 3, stride), conv(output, output, 3, 1)],
            ResNetLayerType::Bottleneck => {
                let narrow = output / REDUCTION;
                let [first, second] = if config.downsample_in_bottleneck { [stride, 1] } else { [1, stride] };
                vec![conv(input, narrow, 1, first), conv(narrow, narrow, 3, second), conv(narrow, output, 1, 1)]
            }
        };
        let shortcut = (input != output || stride != 1).then(|| conv(input, output, 1, stride));
        Self { shortcut, layer, activation: config.hidden_act }
    }

    /// # Shapes
    /// - input: `[batch, in, height, width]`
    /// - output: `[batch, out, ⌈height / stride⌉, ⌈width / stride⌉]`
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let residual = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input.clone()),
            None => input.clone(),
        };
        // Inside the layer HF uses `ResNetConvLayer`'s default activation, ReLU, regardless of `hidden_act`.
        let step = |hidden, (index, conv): (usize, &ConvNorm)| match index {
            0 => conv.forward(hidden),
            _ => conv.forward(Activation::Relu.forward(hidden)),
        };
        let update = self.layer.iter().enumerate().fold(input, step);
        self.activation.forward(update + residual)
    }
}
