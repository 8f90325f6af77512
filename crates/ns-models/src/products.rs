//! A scope in which matrix products of linear layers can be replaced by known results.
//!
//! Linear layers are inside attention and MLP, where an [`Observer`](crate::residual::Observer) is not called. The
//! replacement is therefore not a parameter of the forward pass. It applies to everything that the current thread
//! computes within the scope, like PyTorch's `autocast`.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use burn::module::Param;
use burn::tensor::{Tensor, module};

/// Provides matrix products in place of linear layers. See [`with_products`].
pub trait Products {
    /// Returns the given columns of `x · weight`, or `None` if the layer has to compute them. The layer adds its bias.
    ///
    /// # Shapes
    /// - weight: `[input, output]`
    /// - x: `[rows, input]`
    /// - output: `[rows, columns]`
    fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>>;
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

thread_local! {
    /// The active scopes of this thread; the innermost is last.
    static SCOPES: RefCell<Vec<Rc<dyn Products>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `compute` with `products` active on the current thread. A linear layer that is applied at every position of a
/// sequence first asks `products` for its matrix product.
///
/// Scopes can be nested; only the innermost one is used.
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

/// The product returned by the innermost scope. `None` if no scope is active, or if the scope has no result.
pub(crate) fn product(weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
    // The borrow ends before this call, because the call may open another scope.
    let products = SCOPES.with_borrow(|scopes| scopes.last().cloned())?;
    products.product(weight, columns, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear;
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Int};

    /// Returns twice the product for layers with a square weight.
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
