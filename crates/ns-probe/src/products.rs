//! Products `x · w` of layers with neuron masks, which are the same in every epoch where `x` is frozen.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use ns_models::Columns;

/// What is kept of one example: a frozen activations, or products one a key; row by row.
pub(crate) type Rows = Arc<Vec<Vec<f32>>>;

/// What a layer with a neuron mask multiplies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProductKey {
    /// HF name.
    pub(crate) layer: String,
    pub(crate) columns: Columns,
}

/// Products `x · w`, before mask and bias, at all tokens of a frozen activations: `[tokens, columns]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownProducts(pub(crate) Vec<(ProductKey, Tensor<2>)>);

impl KnownProducts {
    /// Products of examples after each other.
    pub(crate) fn assemble(keys: Vec<ProductKey>, examples: &[Rows], device: &Device) -> Self {
        let product = |(place, key): (usize, ProductKey)| {
            let values: Vec<&[f32]> = examples.iter().map(|rows| rows[place].as_slice()).collect();
            let (values, width) = (values.concat(), key.columns.count());
            let shape = [values.len() / width, width];
            (key, Tensor::from_data(TensorData::new(values, shape), device))
        };
        Self(keys.into_iter().enumerate().map(product).collect())
    }

    /// Which products these are.
    pub(crate) fn keys(&self) -> Vec<ProductKey> {
        self.0.iter().map(|(key, _)| key.clone()).collect()
    }

    /// The products of each sequence, one a key; sequences have so many tokens each.
    pub(crate) fn by_sequence(&self, tokens: &[usize]) -> Vec<Vec<Vec<f32>>> {
        let mut of_keys: Vec<_> = self.0.iter().map(|(_, product)| by_sequence(product, tokens).into_iter()).collect();
        tokens.iter().map(|_| of_keys.iter_mut().filter_map(Iterator::next).collect()).collect()
    }

    pub(crate) fn get(&self, layer: &str, columns: &Columns, rows: usize) -> Option<Tensor<2>> {
        let is_it = |key: &ProductKey| key.layer == layer && key.columns == *columns;
        let (_, product) = self.0.iter().find(|(key, product)| is_it(key) && product.dims()[0] == rows)?;
        Some(product.clone())
    }
}

/// The rows of a matrix `[tokens, width]` on the host, sequence by sequence.
///
/// # Panics
/// When the device cannot execute what the matrix waits for, as every read of Burn's does.
pub(crate) fn by_sequence(matrix: &Tensor<2>, tokens: &[usize]) -> Vec<Vec<f32>> {
    let [_, width] = matrix.dims();
    let data = matrix.to_data_as::<f32>();
    let values: Vec<f32> =
        data.try_into_vec().unwrap_or_else(|error| panic!("data converted to f32 reads as f32: {error}"));
    let mut rest = values.as_slice();
    let take = |count: &usize| {
        let (row, after) = rest.split_at((count * width).min(rest.len()));
        rest = after;
        row.to_vec()
    };
    tokens.iter().map(take).collect()
}
