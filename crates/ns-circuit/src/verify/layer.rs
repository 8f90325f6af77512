//! The module of a golden mask case.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::conv::{Conv1d, Conv2d};
use burn::tensor::{Gradients, Tensor};

use crate::mask::host;

/// A module with one layer: the field of the case's layer kind is set, the others are `None`.
#[derive(Module, Debug)]
pub(super) struct CaseModel {
    pub(super) linear: Option<Linear>,
    pub(super) conv1d: Option<Conv1d>,
    pub(super) conv2d: Option<Conv2d>,
}

impl CaseModel {
    /// Runs the layer on the flat input `x`, whose shape is `dims`. The output is flat too.
    pub(super) fn forward(&self, x: Tensor<1>, dims: &[usize]) -> Tensor<1> {
        match (self, dims) {
            (Self { conv1d: Some(conv), .. }, [n, c, l]) => flatten(conv.forward(x.reshape([*n, *c, *l]))),
            (Self { conv2d: Some(conv), .. }, [n, c, h, w]) => flatten(conv.forward(x.reshape([*n, *c, *h, *w]))),
            (Self { linear: Some(linear), .. }, [.., features]) => {
                let rows = dims[..dims.len() - 1].iter().product::<usize>();
                flatten(linear.forward(x.reshape([rows, *features])))
            }
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
            Self { linear: Some(l), .. } => read(&l.weight, l.bias.as_ref(), gradients),
            Self { conv1d: Some(l), .. } => read(&l.weight, l.bias.as_ref(), gradients),
            Self { conv2d: Some(l), .. } => read(&l.weight, l.bias.as_ref(), gradients),
            _ => (None, None),
        }
    }
}

fn flatten<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let n = tensor.shape().num_elements();
    tensor.reshape([n])
}
