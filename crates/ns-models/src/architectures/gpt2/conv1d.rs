//! HF's `Conv1D`.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::linear::Affine;

/// HF's `Conv1D`: a linear layer whose weight is `[input, output]` in checkpoints, as in Burn.
///
/// It has the fields of Burn's `Linear`. It is a type of its own because its name tells visitors the layout.
#[derive(Module, Debug)]
pub(super) struct Conv1D {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
}

impl From<Linear> for Conv1D {
    fn from(Linear { weight, bias }: Linear) -> Self {
        Self { weight, bias }
    }
}

impl Affine for Conv1D {
    fn weight(&self) -> &Param<Tensor<2>> {
        &self.weight
    }

    fn bias(&self) -> Option<&Param<Tensor<1>>> {
        self.bias.as_ref()
    }
}
