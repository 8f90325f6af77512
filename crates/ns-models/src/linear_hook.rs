//! Hooks on the linear layers in the blocks of a transformer: they provide the matrix product of a layer, or replace its
//! input or output.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Tensor, module};

/// What the linear layers in the blocks of a transformer call, passed in a [`Context`](crate::Context). `None`: every
/// layer computes its own output.
pub type Hook = Option<Arc<dyn LinearHook>>;

/// Called by every linear layer in the blocks of a transformer. The weight identifies the layer, see
/// [`layer_ids`](crate::layer_ids).
///
/// All methods have a default that changes nothing.
pub trait LinearHook: Debug + Send + Sync {
    /// Returns the given columns of `x · weight`, or `None` if the layer has to compute them. The layer adds its bias.
    ///
    /// # Shapes
    /// - weight: `[input, output]`
    /// - x: `[rows, input]`
    /// - output: `[rows, columns]`
    fn product(&self, _weight: &Param<Tensor<2>>, _columns: &Columns, _x: &Tensor<2>) -> Option<Tensor<2>> {
        None
    }

    /// Returns the value that the layer reads in place of its input `x`.
    ///
    /// # Shapes
    /// - weight: `[input, output]`
    /// - x and output: `[batch, positions, input]`
    fn input(&self, _weight: &Param<Tensor<2>>, x: Tensor<3>) -> Tensor<3> {
        x
    }

    /// Returns the value that the model reads in place of the given columns of the layer's output, bias included.
    ///
    /// # Shapes
    /// - weight: `[input, output]`
    /// - output: `[batch, positions, columns]`
    fn output(&self, _weight: &Param<Tensor<2>>, _columns: &Columns, output: Tensor<3>) -> Tensor<3> {
        output
    }
}

/// Selected outputs of a linear layer, i.e. columns of its weight in Burn's layout.
///
/// The columns are divided into equal groups, and the same range is selected in each group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Columns {
    groups: usize,
    range: Range<usize>,
}

impl Columns {
    /// A range of the outputs, without groups.
    pub(crate) fn range(range: Range<usize>) -> Self {
        Self { groups: 1, range }
    }

    /// The same range in each of `groups` equal groups of outputs.
    pub(crate) fn range_of_groups(groups: usize, range: Range<usize>) -> Self {
        Self { groups, range }
    }

    /// Returns the number of selected columns.
    pub fn count(&self) -> usize {
        self.groups * self.range.len()
    }

    /// Selects these columns of a matrix.
    ///
    /// # Shapes
    /// - matrix: `[rows, output]`
    /// - output: `[rows, columns]`
    pub fn select(&self, matrix: Tensor<2>) -> Tensor<2> {
        let [rows, width] = matrix.dims();
        if self.groups == 1 {
            return if self.range == (0..width) { matrix } else { matrix.slice_dim(1, self.range.clone()) };
        }
        let groups = matrix.reshape([rows, self.groups, width / self.groups]);
        groups.slice_dim(2, self.range.clone()).reshape([rows, self.count()])
    }

    /// Selects these entries of a vector.
    ///
    /// # Shapes
    /// - vector: `[output]`
    /// - output: `[columns]`
    pub fn select_vector(&self, vector: Tensor<1>) -> Tensor<1> {
        self.select(vector.unsqueeze()).reshape([self.count()])
    }

    /// Computes these columns of `x · weight`. A contiguous range of columns does not copy the weight.
    ///
    /// # Shapes
    /// - x: `[rows, input]`
    /// - weight: `[input, output]`
    /// - output: `[rows, columns]`
    pub fn product(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        module::linear(x, self.select(weight), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Int};

    #[test]
    fn columns_are_those_of_every_group() {
        let device = Device::default();
        let matrix = Tensor::<1, Int>::arange(0..12, &device).float().reshape([2, 6]);
        let values = |columns: Columns| columns.select(matrix.clone()).into_data().iter::<f32>().collect::<Vec<_>>();
        assert_eq!(values(Columns::range(1..3)), [1.0, 2.0, 7.0, 8.0]);
        assert_eq!(values(Columns::range_of_groups(2, 1..3)), [1.0, 2.0, 4.0, 5.0, 7.0, 8.0, 10.0, 11.0]);
    }
}
