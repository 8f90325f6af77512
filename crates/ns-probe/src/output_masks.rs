//! Neuron masks on outputs: `x · (w ⊙ m) = (x · w) ⊙ m`, where `x · w` may be known from an earlier step.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::{OutputMask, output_mask};
use ns_models::{Columns, Products, with_products};

use crate::activation_cache::by_sequence;
use crate::cache_store::Rows;

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

/// What a layer with a neuron mask multiplies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProductKey {
    /// HF name.
    layer: String,
    columns: Columns,
}

/// Products `x · w`, before mask and bias, at all tokens of a frozen activations: `[tokens, columns]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownProducts(Vec<(ProductKey, Tensor<2>)>);

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

    fn get(&self, layer: &str, columns: &Columns, rows: usize) -> Option<Tensor<2>> {
        let is_it = |key: &ProductKey| key.layer == layer && key.columns == *columns;
        let (_, product) = self.0.iter().find(|(key, product)| is_it(key) && product.dims()[0] == rows)?;
        Some(product.clone())
    }
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
