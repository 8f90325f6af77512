//! Products of examples, computed once: the part of a [`PrefixCache`](crate::PrefixCache) that lies above the prefix.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};

use crate::output_masks::{KnownProducts, ProductKey};
use crate::prefix_cache::{Example, VALUE, by_sequence};

/// Keeps what layers with neuron masks multiply, as long as nobody needs the room more.
///
/// A product saves one multiplication, a prefix all blocks below. So when prefixes need the room, products give it up
/// for good.
#[derive(Debug, Default)]
pub(crate) struct ProductCache {
    /// Whether there is no room for more.
    closed: bool,
    bytes: usize,
    /// What is kept of each example.
    keys: Vec<ProductKey>,
    /// One a key, `[tokens, columns]` row by row.
    kept: HashMap<Example, Vec<Vec<f32>>>,
}

impl ProductCache {
    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it takes more.
    pub(crate) fn is_open(&self) -> bool {
        !self.closed
    }

    /// Gives up its room.
    pub(crate) fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }

    /// The products of these examples, if all are known.
    pub(crate) fn of(&self, examples: &[Example], device: &Device) -> Option<KnownProducts> {
        let rows: Vec<&Vec<Vec<f32>>> = examples.iter().map(|example| self.kept.get(example)).collect::<Option<_>>()?;
        let product = |(place, key): (usize, &ProductKey)| {
            let values: Vec<&[f32]> = rows.iter().map(|products| products[place].as_slice()).collect();
            let (values, width) = (values.concat(), key.width());
            let shape = [values.len() / width, width];
            (key.clone(), Tensor::from_data(TensorData::new(values, shape), device))
        };
        Some(KnownProducts(self.keys.iter().enumerate().map(product).collect()))
    }

    /// Keeps the products of examples with so many tokens each, as far as `room` bytes go. Other batches may multiply
    /// otherwise, as they read other tokens: what does not go with the first is left out. Where there is nothing to keep,
    /// there will not be later.
    pub(crate) fn keep(&mut self, examples: &[Example], tokens: &[usize], products: &KnownProducts, room: usize) {
        if products.0.is_empty() {
            self.closed = true;
            return;
        }
        let keys: Vec<ProductKey> = products.0.iter().map(|(key, _)| key.clone()).collect();
        if self.kept.is_empty() {
            self.keys = keys;
        } else if self.keys != keys {
            return;
        }
        let mut by_key: Vec<_> =
            products.0.iter().map(|(_, product)| by_sequence(product, tokens).into_iter()).collect();
        for example in examples {
            let of_example: Vec<Vec<f32>> = by_key.iter_mut().filter_map(Iterator::next).collect();
            let bytes = VALUE * of_example.iter().map(Vec::len).sum::<usize>();
            if self.bytes + bytes > room {
                self.closed = true;
                return;
            }
            if self.kept.insert(*example, of_example).is_none() {
                self.bytes += bytes;
            }
        }
    }
}
