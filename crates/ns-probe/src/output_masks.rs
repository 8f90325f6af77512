//! Neuron masks on the outputs of linear layers: `x · (w ⊙ m) = (x · w) ⊙ m`.
//!
//! Masked this way, a layer needs no masked copy of its weight, and `x · w` may be a product known from an earlier
//! step.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use burn::module::Param;
use burn::tensor::Tensor;
use ns_circuit::{OutputMask, output_mask};
use ns_models::{Columns, Products, with_products};

use crate::products::{KnownProducts, ProductKey};

/// Runs `compute` in a scope in which neuron masks scale the outputs of their linear layers instead of the weights.
///
/// The results and the gradients of the masks are the same up to rounding. Training is faster, because no gradient of
/// the size of a weight is computed. The scope covers the current thread only.
pub fn with_output_masks<T>(compute: impl FnOnce() -> T) -> T {
    with_known_products(KnownProducts::default(), compute)
}

/// Like [`with_output_masks`], but uses the products in `known` instead of computing them.
pub(crate) fn with_known_products<T>(known: KnownProducts, compute: impl FnOnce() -> T) -> T {
    with_products(Rc::new(Scale { known }), compute)
}

/// Runs `compute` with neuron masks turned off, and returns the products of `layers` (Hugging Face names) that have one
/// row for each of `tokens` tokens.
pub(crate) fn record_products<E>(
    layers: Arc<[String]>,
    tokens: usize,
    compute: impl FnOnce() -> Result<(), E>,
) -> Result<KnownProducts, E> {
    let record = Rc::new(Record { layers, tokens, products: RefCell::default() });
    with_products(record.clone(), compute)?;
    Ok(KnownProducts(record.products.take()))
}

/// Computes products of layers with neuron masks, and scales them by the mask.
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

/// Computes products of layers with neuron masks without the mask, and records them.
struct Record {
    layers: Arc<[String]>,
    tokens: usize,
    products: RefCell<Vec<(ProductKey, Tensor<2>)>>,
}

impl Products for Record {
    fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
        let OutputMask { layer, .. } = output_mask(weight)?;
        let product = columns.product(x.clone(), weight.base());
        let [rows, _] = x.dims();
        if rows == self.tokens && self.layers.contains(&layer) {
            let key = ProductKey { layer, columns: columns.clone() };
            self.products.borrow_mut().push((key, product.clone()));
        }
        Some(product)
    }
}

#[cfg(test)]
mod tests;
