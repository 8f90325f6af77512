//! A scope in which somebody else computes the products of linear layers.
//!
//! What a linear layer multiplies is a place to look at, as the sites of the residual stream are, but it lies within
//! attention and MLP. So whoever wants to see it does not go along with the walk: it says so for all that its thread
//! computes within a call, as PyTorch's `autocast` does.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use burn::module::Param;
use burn::tensor::{Tensor, module};

/// Somebody who computes products in the place of linear layers.
pub trait Products {
    /// Some columns of `x · weight`, to which the layer adds its bias; `None` leaves them to the layer.
    ///
    /// # Shapes
    /// - weight: `[input, output]`
    /// - x: `[rows, input]`
    /// - output: `[rows, columns]`
    fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>>;
}

/// Some outputs of a linear layer, i.e. columns of its weight: of each of `groups` groups side by side the same range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Columns {
    groups: usize,
    range: Range<usize>,
}

impl Columns {
    /// A range of all outputs.
    pub(crate) fn range(range: Range<usize>) -> Self {
        Self { groups: 1, range }
    }

    /// The same range of every group of outputs.
    pub(crate) fn range_of_groups(groups: usize, range: Range<usize>) -> Self {
        Self { groups, range }
    }

    /// Number of columns.
    pub fn count(&self) -> usize {
        self.groups * self.range.len()
    }

    /// These columns of a matrix.
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

    /// These entries of a vector.
    ///
    /// # Shapes
    /// - vector: `[output]`
    /// - output: `[columns]`
    pub fn select_vector(&self, vector: Tensor<1>) -> Tensor<1> {
        self.select(vector.unsqueeze()).reshape([self.count()])
    }

    /// These columns of a product, without a copy of the weight where they are a view of it.
    ///
    /// # Shapes
    /// - x: `[rows, input]`
    /// - weight: `[input, output]`
    /// - output: `[rows, columns]`
    pub fn product(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        module::linear(x, self.select(weight), None)
    }
}

thread_local! {
    /// The innermost scope last.
    static SCOPES: RefCell<Vec<Rc<dyn Products>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `compute`, in which `products` may take the place of linear layers at every position of a sequence.
pub fn with_products<T>(products: Rc<dyn Products>, compute: impl FnOnce() -> T) -> T {
    struct Scope;
    impl Drop for Scope {
        fn drop(&mut self) {
            SCOPES.with_borrow_mut(Vec::pop);
        }
    }
    SCOPES.with_borrow_mut(|scopes| scopes.push(products));
    let _ends_even_in_a_panic = Scope;
    compute()
}

/// What the innermost scope gives.
pub(crate) fn product(weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
    // The borrow ends before the call, which may open a scope of its own.
    let products = SCOPES.with_borrow(|scopes| scopes.last().cloned())?;
    products.product(weight, columns, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear;
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Int};

    /// Twice the product of square layers.
    struct Twice;

    impl Products for Twice {
        fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
            let [input, output] = weight.val().dims();
            (input == output).then(|| columns.product(x.clone(), weight.val()) * 2.0)
        }
    }

    #[test]
    fn products_are_replaced_within_the_scope_and_biases_added() {
        let device = Device::default();
        let x = Tensor::<1, Int>::arange(0..8, &device).float().reshape([1, 2, 4]);
        for (output, factor) in [(4, 2.0), (3, 1.0)] {
            let layer = LinearConfig::new(4, output).init(&device);
            let plain = linear::forward(&layer, x.clone());
            let bias = layer.bias.as_ref().unwrap().val().reshape([1, 1, output]);
            let expected = ((plain.clone() - bias.clone()) * factor + bias).into_data();
            let replaced = with_products(Rc::new(Twice), || linear::forward(&layer, x.clone())).into_data();
            replaced.assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::default());
            linear::forward(&layer, x.clone()).into_data().assert_eq(&plain.into_data(), true);
        }
    }

    #[test]
    fn a_scope_ends_in_a_panic() {
        let caught = std::panic::catch_unwind(|| with_products(Rc::new(Twice), || panic!("within")));
        assert!(caught.is_err());
        SCOPES.with_borrow(|scopes| assert!(scopes.is_empty()));
    }

    #[test]
    fn columns_are_those_of_every_group() {
        let device = Device::default();
        let matrix = Tensor::<1, Int>::arange(0..12, &device).float().reshape([2, 6]);
        let values = |columns: Columns| columns.select(matrix.clone()).into_data().iter::<f32>().collect::<Vec<_>>();
        assert_eq!(values(Columns::range(1..3)), [1.0, 2.0, 7.0, 8.0]);
        assert_eq!(values(Columns::range_of_groups(2, 1..3)), [1.0, 2.0, 4.0, 5.0, 7.0, 8.0, 10.0, 11.0]);
    }
}
