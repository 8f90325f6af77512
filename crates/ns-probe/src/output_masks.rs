//! Neuron masks on outputs: `x · (w ⊙ m) = (x · w) ⊙ m`, where `x · w` may be known from an earlier step.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use burn::module::Param;
use burn::tensor::Tensor;
use ns_circuit::{OutputMask, output_mask};
use ns_models::{Columns, Products, with_products};

use crate::products::{KnownProducts, ProductKey};

/// Runs `compute`, in which neuron masks scale the outputs of their layers and not the weights. The numbers are the same
/// but for rounding in training, and no gradient as large as a weight is made.
pub fn with_output_masks<T>(compute: impl FnOnce() -> T) -> T {
    with_known_products(KnownProducts::default(), compute)
}

/// The same, where some products are known.
pub(crate) fn with_known_products<T>(known: KnownProducts, compute: impl FnOnce() -> T) -> T {
    with_products(Rc::new(Scale { known }), compute)
}

/// Runs `compute` without masks, and gives the products of these layers (HF names) at all of `tokens`.
pub(crate) fn record_products<E>(
    layers: Arc<[String]>,
    tokens: usize,
    compute: impl FnOnce() -> Result<(), E>,
) -> Result<KnownProducts, E> {
    let record = Rc::new(Record { layers, tokens, found: RefCell::default() });
    with_products(record.clone(), compute)?;
    Ok(KnownProducts(record.found.take()))
}

/// Masks outputs.
struct Scale {
    known: KnownProducts,
}

impl Products for Scale {
    fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
        let OutputMask { layer, mask } = output_mask(weight)?;
        let [rows, _] = x.dims();
        let known = self.known.get(&layer, columns, rows);
        let product = known.unwrap_or_else(|| columns.product(x.clone(), weight.base()));
        Some(product * columns.select_vector(mask).unsqueeze())
    }
}

/// Masks nothing, and notes products.
struct Record {
    layers: Arc<[String]>,
    tokens: usize,
    found: RefCell<Vec<(ProductKey, Tensor<2>)>>,
}

impl Products for Record {
    fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
        let OutputMask { layer, .. } = output_mask(weight)?;
        let product = columns.product(x.clone(), weight.base());
        let [rows, _] = x.dims();
        if rows == self.tokens && self.layers.contains(&layer) {
            let key = ProductKey { layer, columns: columns.clone() };
            self.found.borrow_mut().push((key, product.clone()));
        }
        Some(product)
    }
}

#[cfg(test)]
mod tests;
