//! HF's `ResNetConvLayer`, `ResNetBasicLayer` and `ResNetBottleNeckLayer`.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use super::{ResNetConfig, ResNetLayerType, config::REDUCTION};
use crate::activation::Activation;

/// A convolution without bias and its batch norm.
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
        // Evaluation is what a model is loaded for; the module's doc says how to train with batch statistics.
        let normalization =
            BatchNorm { training: Param::from_bool(false), ..BatchNormConfig::new(output).init(device) };
        Self { convolution, normalization }
    }

    /// # Shapes
    /// - input: `[batch, in, height, width]`
    /// - output: `[batch, out, ⌈height / stride⌉, ⌈width / stride⌉]`
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.normalization.forward(self.convolution.forward(input))
    }
}

/// Residual layers of one width.
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

    /// # Shapes
    /// - input: `[batch, in, height, width]`
    /// - output: `[batch, out, ⌈height / stride⌉, ⌈width / stride⌉]`
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(input, |hidden, layer| layer.forward(hidden))
    }
}

/// `act(shortcut(x) + layer(x))`.
#[derive(Module, Debug)]
struct ResNetLayer {
    /// Only where width or resolution change.
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

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let residual = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input.clone()),
            None => input.clone(),
        };
        // HF passes no activation to what is inside: it is ReLU whatever `hidden_act` says.
        let step = |hidden, (place, conv): (usize, &ConvNorm)| match place {
            0 => conv.forward(hidden),
            _ => conv.forward(Activation::Relu.forward(hidden)),
        };
        let update = self.layer.iter().enumerate().fold(input, step);
        self.activation.forward(update + residual)
    }
}
