//! Neuron masks on the outputs of linear layers: `x · (w ⊙ m) = (x · w) ⊙ m`.
//!
//! Masked this way, a layer needs no masked copy of its weight, and `x · w` may be a product known from an earlier
//! step.

use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Param;
use burn::tensor::Tensor;
use ns_circuit::{OutputMask, output_mask};
use ns_models::{Columns, Hook, LinearHook};

use crate::products::{KnownProducts, ProductKey};

/// Returns products with which neuron masks scale the outputs of their linear layers instead of the weights.
///
/// The results and the gradients of the masks are the same up to rounding. Training is faster, because no gradient of
/// the size of a weight is computed. This holds for the layers in the blocks of a transformer, whose
/// [`Context`](ns_models::Context) or [`logits_with`](ns_models::Model::logits_with) takes the products. Elsewhere the
/// masks multiply the weights.
pub fn output_masks() -> Hook {
    known_products(KnownProducts::default())
}

/// Like [`output_masks`], but uses the products in `known` instead of computing them.
pub(crate) fn known_products(known: KnownProducts) -> Hook {
    Some(Arc::new(Scale { known }))
}

/// Computes products of layers with neuron masks, and scales them by the mask.
#[derive(Debug)]
struct Scale {
    known: KnownProducts,
}

impl LinearHook for Scale {
    fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
        let OutputMask { layer, mask } = output_mask(weight)?;
        let [rows, _] = x.dims();
        let known = self.known.get(&layer, columns, rows);
        let product = known.unwrap_or_else(|| columns.product(x.clone(), weight.base()));
        Some(product * columns.select_vector(mask).unsqueeze())
    }
}

/// Computes products of layers with neuron masks without the mask, and records those of some layers.
#[derive(Debug)]
pub(crate) struct ProductRecorder {
    /// Hugging Face names of the recorded layers.
    layers: Arc<[String]>,
    /// Hook with another number of rows are not recorded.
    tokens: usize,
    products: Mutex<Vec<(ProductKey, Tensor<2>)>>,
}

impl ProductRecorder {
    /// Records products of `layers` (Hugging Face names) that have one row for each of `tokens` tokens.
    pub(crate) fn new(layers: Arc<[String]>, tokens: usize) -> Self {
        Self { layers, tokens, products: Mutex::default() }
    }

    /// Returns the products recorded so far.
    pub(crate) fn recorded(&self) -> KnownProducts {
        KnownProducts(self.products.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl LinearHook for ProductRecorder {
    fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
        let OutputMask { layer, .. } = output_mask(weight)?;
        let product = columns.product(x.clone(), weight.base());
        let [rows, _] = x.dims();
        if rows == self.tokens && self.layers.contains(&layer) {
            let key = ProductKey { layer, columns: columns.clone() };
            self.products.lock().unwrap_or_else(PoisonError::into_inner).push((key, product.clone()));
        }
        Some(product)
    }
}

#[cfg(test)]
mod tests;
