//! Linear layers of the MLP: dense, or grouped as in ConvBERT.

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear};
use burn::tensor::{Device, Tensor};

use crate::context::Context;
use crate::init;
use crate::linear;

/// A linear layer of the MLP. The grouped kind cannot be masked, as in NeuroSurgeon.
#[derive(Module, Debug)]
pub(super) enum FeedForward {
    Dense(Linear),
    Grouped(GroupedLinear),
}

/// A linear layer in independent groups, HF's `GroupedLinearLayer`: each group maps its slice of the input to its slice
/// of the output.
#[derive(Module, Debug)]
pub(super) struct GroupedLinear {
    /// `[groups, input / groups, output / groups]`, as in the checkpoint.
    weight: Param<Tensor<3>>,
    bias: Param<Tensor<1>>,
}

impl FeedForward {
    pub(super) fn init(input: usize, output: usize, groups: usize, device: &Device) -> Self {
        match groups {
            1 => Self::Dense(init::linear(input, output, device)),
            groups => Self::Grouped(GroupedLinear {
                weight: Initializer::Zeros.init([groups, input / groups, output / groups], device),
                bias: Initializer::Zeros.init([output], device),
            }),
        }
    }

    /// Applies the layer at every position.
    ///
    /// # Shapes
    /// - x: `[batch, seq, input]`
    /// - output: `[batch, seq, output]`
    pub(super) fn forward(&self, x: Tensor<3>, context: &Context) -> Tensor<3> {
        match self {
            Self::Dense(linear) => linear::forward(linear, x, context),
            Self::Grouped(grouped) => grouped.forward(x),
        }
    }
}

impl GroupedLinear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let ([batch, seq, input], weight) = (x.dims(), self.weight.val());
        let [groups, _, group_output] = weight.dims();
        let parts = x.reshape([batch * seq, groups, input / groups]).swap_dims(0, 1);
        let output = parts.matmul(weight).swap_dims(0, 1).reshape([batch, seq, groups * group_output]);
        output + self.bias.val().unsqueeze()
    }
}
