//! The module of a golden mask case.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv2d};
use burn::nn::{Linear, PaddingConfig1d, PaddingConfig2d};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::case::{Geometry, MaskCase, invalid};
use crate::error::CircuitError;
use crate::layout::transpose;
use crate::mask::host;
use crate::target::LayerKind;

/// A module with one layer.
#[derive(Module, Debug)]
pub(super) enum CaseModel {
    Linear(Linear),
    Conv1d(Conv1d),
    Conv2d(Conv2d),
}

impl CaseModel {
    /// Builds the layer of a case, and returns it with the shape of its output for inputs of shape `x`. `weight` and
    /// its `shape` are in Hugging Face's layout.
    pub(super) fn new(
        case: &MaskCase,
        weight: Vec<f32>,
        shape: &[usize],
        bias: Option<Param<Tensor<1>>>,
        x: &[usize],
        device: &Device,
    ) -> Result<(Self, Vec<usize>), CircuitError> {
        let weight = match case.layer {
            LayerKind::Linear => TensorData::new(transpose(&weight, shape[0], shape[1]), [shape[1], shape[0]]),
            _ => TensorData::new(weight, shape.to_vec()),
        };
        match (case.layer, x) {
            (LayerKind::Linear | LayerKind::GptConv1d, [rows @ .., features]) => {
                let linear = Linear { weight: Param::from_data(weight, device), bias };
                let [inputs, outputs] = linear.weight.dims();
                if *features != inputs {
                    return Err(invalid(format!("x has {features} features, but the weight has {inputs} inputs")));
                }
                Ok((Self::Linear(linear), [rows, &[outputs]].concat()))
            }
            (LayerKind::Conv1d, [_, _, _]) => {
                let Geometry { kernel, stride, padding, dilation, groups, output } =
                    Geometry::<1>::new(case, shape, x)?;
                let conv = Conv1d {
                    weight: Param::from_data(weight, device),
                    bias,
                    stride: stride[0],
                    kernel_size: kernel[0],
                    dilation: dilation[0],
                    groups,
                    padding: PaddingConfig1d::Explicit(padding[0], padding[0]),
                };
                Ok((Self::Conv1d(conv), output))
            }
            (LayerKind::Conv2d, [_, _, _, _]) => {
                let Geometry { kernel, stride, padding, dilation, groups, output } =
                    Geometry::<2>::new(case, shape, x)?;
                let conv = Conv2d {
                    weight: Param::from_data(weight, device),
                    bias,
                    stride,
                    kernel_size: kernel,
                    dilation,
                    groups,
                    padding: PaddingConfig2d::Explicit(padding[0], padding[1], padding[0], padding[1]),
                };
                Ok((Self::Conv2d(conv), output))
            }
            _ => Err(invalid(format!("a {} input cannot have shape {x:?}", case.layer))),
        }
    }

    /// Runs the layer on the flat input `x`, whose shape is `dims`. The output is flat too.
    pub(super) fn forward(&self, x: Tensor<1>, dims: &[usize]) -> Tensor<1> {
        match (self, dims) {
            (Self::Linear(layer), [rows @ .., features]) => {
                layer.forward(x.reshape([rows.iter().product(), *features])).flatten(0, 1)
            }
            (Self::Conv1d(layer), [n, c, l]) => layer.forward(x.reshape([*n, *c, *l])).flatten(0, 2),
            (Self::Conv2d(layer), [n, c, h, w]) => layer.forward(x.reshape([*n, *c, *h, *w])).flatten(0, 3),
            _ => x,
        }
    }

    /// The gradients of the base weight and bias, in storage order.
    pub(super) fn gradients(&self, gradients: &Gradients) -> (Option<Vec<f32>>, Option<Vec<f32>>) {
        fn read<const D: usize>(
            weight: &Param<Tensor<D>>,
            bias: Option<&Param<Tensor<1>>>,
            gradients: &Gradients,
        ) -> (Option<Vec<f32>>, Option<Vec<f32>>) {
            (weight.base().grad(gradients).map(host), bias.and_then(|b| b.base().grad(gradients)).map(host))
        }
        match self {
            Self::Linear(layer) => read(&layer.weight, layer.bias.as_ref(), gradients),
            Self::Conv1d(layer) => read(&layer.weight, layer.bias.as_ref(), gradients),
            Self::Conv2d(layer) => read(&layer.weight, layer.bias.as_ref(), gradients),
        }
    }
}
