//! Matrix products that no replacement changes, kept between forward passes on one batch.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;
use ns_models::Columns;

/// A layer, its columns, and the number of rows: a narrowed block computes some columns at fewer positions.
type Key = (ParamId, Columns, usize);

/// Products of layers that come before all replaced outputs, so that their inputs are the same in all forward passes on a
/// batch. The first forward pass computes them, the others reuse them. Clones share the products.
#[derive(Clone, Debug, Default)]
pub struct FixedProducts {
    layers: Arc<BTreeSet<ParamId>>,
    products: Arc<Mutex<HashMap<Key, Tensor<2>>>>,
}

impl FixedProducts {
    pub(super) fn new(layers: Arc<BTreeSet<ParamId>>) -> Self {
        Self { layers, products: Arc::default() }
    }

    /// The product, if the layer is one of these.
    pub(super) fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
        if !self.layers.contains(&weight.id) {
            return None;
        }
        let [rows, _] = x.dims();
        let mut products = self.products.lock().unwrap_or_else(PoisonError::into_inner);
        let product = products.entry((weight.id, columns.clone(), rows));
        Some(product.or_insert_with(|| columns.product(x.clone(), weight.val())).clone())
    }
}
