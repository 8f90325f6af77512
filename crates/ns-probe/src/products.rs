//! Known products `x · w` of masked linear layers.
//!
//! A neuron mask scales the outputs of a linear layer: `x · (w ⊙ m) = (x · w) ⊙ m`. Where the input `x` is frozen,
//! `x · w` does not depend on the mask parameters and is the same in every epoch, so it is kept like frozen
//! activations.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use ns_models::Columns;

/// The cached values of one example: one row-major matrix of frozen activations, or one matrix per [`ProductKey`].
pub(crate) type Rows = Arc<Vec<Vec<f32>>>;

/// Identifies a product: a masked linear layer, and the columns of its weight that were multiplied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProductKey {
    /// Hugging Face name of the layer.
    pub(crate) layer: String,
    pub(crate) columns: Columns,
}

/// Products `x · w`, before mask and bias, for all tokens of the frozen activations of a batch: `[tokens, columns]`
/// each.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownProducts(pub(crate) Vec<(ProductKey, Tensor<2>)>);

impl KnownProducts {
    /// Concatenates the cached products of `examples`. The values of each example are in the order of `keys`.
    pub(crate) fn assemble(keys: Vec<ProductKey>, examples: &[Rows], device: &Device) -> Self {
        let product = |(index, key): (usize, ProductKey)| {
            let values: Vec<&[f32]> = examples.iter().map(|rows| rows[index].as_slice()).collect();
            let (values, width) = (values.concat(), key.columns.count());
            let shape = [values.len() / width, width];
            (key, Tensor::from_data(TensorData::new(values, shape), device))
        };
        Self(keys.into_iter().enumerate().map(product).collect())
    }

    /// The keys of all products, in order.
    pub(crate) fn keys(&self) -> Vec<ProductKey> {
        self.0.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Splits the products by sequence: for each sequence the values of each product. `tokens` is the number of tokens
    /// per sequence.
    pub(crate) fn by_sequence(&self, tokens: &[usize]) -> Vec<Vec<Vec<f32>>> {
        let mut products: Vec<_> = self.0.iter().map(|(_, product)| by_sequence(product, tokens).into_iter()).collect();
        tokens.iter().map(|_| products.iter_mut().filter_map(Iterator::next).collect()).collect()
    }

    /// The product of a layer and columns, `[rows, columns]`, if it is known for exactly `rows` tokens.
    pub(crate) fn get(&self, layer: &str, columns: &Columns, rows: usize) -> Option<Tensor<2>> {
        let matches = |key: &ProductKey| key.layer == layer && key.columns == *columns;
        let (_, product) = self.0.iter().find(|(key, product)| matches(key) && product.dims()[0] == rows)?;
        Some(product.clone())
    }
}

/// Copies a matrix `[tokens, width]` to the host and splits it by sequence. `tokens` is the number of rows per
/// sequence.
///
/// # Panics
/// Panics if the device fails to execute the pending operations, like every read of a Burn tensor.
pub(crate) fn by_sequence(matrix: &Tensor<2>, tokens: &[usize]) -> Vec<Vec<f32>> {
    let [_, width] = matrix.dims();
    let data = matrix.to_data_as::<f32>();
    let values: Vec<f32> =
        data.try_into_vec().unwrap_or_else(|error| panic!("data converted to f32 must be readable as f32: {error}"));
    let mut rest = values.as_slice();
    let take = |count: &usize| {
        let (row, after) = rest.split_at((count * width).min(rest.len()));
        rest = after;
        row.to_vec()
    };
    tokens.iter().map(take).collect()
}
