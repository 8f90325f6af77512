//! Prefixes of examples, computed once.

use std::collections::HashMap;

use burn::tensor::{Tensor, TensorData};
use ns_models::Transformer;

use crate::product_cache::ProductCache;
use crate::{Prefix, PrefixTokens, ProbeBatch, ProbeError, Reading, output_masks::KnownProducts};

const MEGABYTE: usize = 1 << 20;
/// Bytes.
pub(crate) const VALUE: usize = size_of::<f32>();

/// An example, and the length of its sequence.
pub(crate) type Example = (usize, usize);

/// Keeps the prefixes of examples on the host, up to a bound on memory.
///
/// Every epoch sees every example once, so what does not fit is computed again and nothing is thrown out for it. A
/// vector depends on its own sequence and on how far that is padded, so an example is kept for each length it comes
/// in. On backends whose matrix products give a row the same bits in a batch of any size, cached and computed prefixes
/// are the same bits. The CPU's do for layers of more than 64 outputs and for those of at most 512 inputs, that is for
/// all models in use.
///
/// Where layers with neuron masks read the prefix, what they multiply is the same in every epoch, too, and kept as long
/// as there is room for it beside the prefixes.
#[derive(Debug)]
pub struct PrefixCache {
    /// Bytes.
    bound: usize,
    used: usize,
    kept: HashMap<Example, Vec<f32>>,
    products: ProductCache,
}

impl PrefixCache {
    /// A cache of so many megabytes (of 2²⁰ bytes); with 0 nothing is kept.
    pub fn of_megabytes(megabytes: usize) -> Self {
        Self::of_bytes(megabytes.saturating_mul(MEGABYTE))
    }

    /// A cache of so many bytes; with 0 nothing is kept.
    pub fn of_bytes(bound: usize) -> Self {
        Self { bound, used: 0, kept: HashMap::new(), products: ProductCache::default() }
    }

    /// Forgets what it kept.
    pub fn clear(&mut self) {
        *self = Self::of_bytes(self.bound);
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used + self.products.bytes()
    }

    /// Checks that a batch fits.
    ///
    /// # Errors
    /// [`ProbeError::PrefixCache`] if the cache is not off, and too small.
    pub fn check<M: Transformer>(&self, reading: &Reading, model: &M, batch: &ProbeBatch) -> Result<(), ProbeError> {
        let [sequences, seq] = model.stream_dims(&batch.inputs)?;
        let tokens = match reading.tokens() {
            PrefixTokens::All => sequences * seq,
            PrefixTokens::Selected => batch.token_mask.iter().filter(|selected| **selected).count(),
        };
        let needed = tokens * model.hidden_size() * VALUE;
        match self.is_used_for(reading) && needed > self.bound {
            true => {
                let megabytes = |bytes: usize| bytes.div_ceil(MEGABYTE);
                Err(ProbeError::PrefixCache { needed: megabytes(needed), given: megabytes(self.bound) })
            }
            false => Ok(()),
        }
    }

    /// The prefix of a batch whose sequences are these examples, looked up or computed.
    ///
    /// # Errors
    /// As [`Reading::prefix`]; [`ProbeError::Batch`] unless there are as many examples as
    /// sequences.
    pub fn prefix<M: Transformer>(
        &mut self,
        reading: &Reading,
        model: &M,
        examples: &[usize],
        batch: &ProbeBatch,
    ) -> Result<Prefix, ProbeError> {
        if self.bound == 0 {
            return reading.prefix(model, batch);
        }
        let [sequences, seq] = model.stream_dims(&batch.inputs)?;
        if examples.len() != sequences {
            return Err(ProbeError::Batch {
                what: "examples",
                found: examples.len().to_string(),
                expected: format!("there are {sequences} sequences"),
            });
        }
        let examples: Vec<Example> = examples.iter().map(|example| (*example, seq)).collect();
        let prefix = match self.is_used_for(reading) {
            true => self.hidden(reading, model, &examples, batch)?,
            false => reading.prefix(model, batch)?,
        };
        let products = self.products(reading, model, &examples, batch, &prefix)?;
        Ok(Prefix { products, ..prefix })
    }

    fn is_used_for(&self, reading: &Reading) -> bool {
        self.bound > 0 && reading.is_worth_keeping()
    }

    /// The prefix without products.
    fn hidden<M: Transformer>(
        &mut self,
        reading: &Reading,
        model: &M,
        examples: &[Example],
        batch: &ProbeBatch,
    ) -> Result<Prefix, ProbeError> {
        let missing: Vec<usize> = (0..examples.len()).filter(|row| !self.kept.contains_key(&examples[*row])).collect();
        if missing.len() == examples.len() {
            let prefix = reading.prefix(model, batch)?;
            let rows = rows_of(reading, batch, &prefix);
            examples.iter().zip(rows).for_each(|(example, row)| self.keep_row(*example, row));
            return Ok(prefix);
        }
        let mut computed = HashMap::new();
        if !missing.is_empty() {
            let some = batch.of_sequences(&missing);
            let prefix = reading.prefix(model, &some)?;
            computed = missing.iter().map(|row| examples[*row]).zip(rows_of(reading, &some, &prefix)).collect();
        }
        let hidden = self.assemble(model, examples, &computed, reading.tokens());
        computed.into_iter().for_each(|(example, row)| self.keep_row(example, row));
        Ok(Prefix::of(hidden))
    }

    /// The products that follow a prefix, where the cache has them or keeps them now.
    fn products<M: Transformer>(
        &mut self,
        reading: &Reading,
        model: &M,
        examples: &[Example],
        batch: &ProbeBatch,
        prefix: &Prefix,
    ) -> Result<KnownProducts, ProbeError> {
        if !reading.feeds_masks() {
            return Ok(KnownProducts::default());
        }
        if let Some(known) = self.products.of(examples, &model.device()) {
            return Ok(known);
        }
        if !self.products.is_open() {
            return Ok(KnownProducts::default());
        }
        let recorded = reading.products(model, prefix, batch)?;
        self.products.keep(examples, &tokens_of(reading, batch), &recorded, self.bound - self.used);
        Ok(recorded)
    }

    fn keep_row(&mut self, key: Example, row: Vec<f32>) {
        let bytes = row.len() * VALUE;
        if self.used + bytes > self.bound || self.kept.contains_key(&key) {
            return;
        }
        if self.used() + bytes > self.bound {
            self.products.close();
        }
        self.used += bytes;
        self.kept.insert(key, row);
    }

    /// One tensor of all rows.
    fn assemble<M: Transformer>(
        &self,
        model: &M,
        examples: &[Example],
        computed: &HashMap<Example, Vec<f32>>,
        tokens: PrefixTokens,
    ) -> Tensor<3> {
        let rows = examples.iter().filter_map(|example| self.kept.get(example).or(computed.get(example)));
        let rows: Vec<&[f32]> = rows.map(Vec::as_slice).collect();
        let (values, hidden) = (rows.concat(), model.hidden_size());
        let shape = match tokens {
            PrefixTokens::All => [examples.len(), values.len() / (examples.len() * hidden), hidden],
            PrefixTokens::Selected => [values.len() / hidden, 1, hidden],
        };
        Tensor::from_data(TensorData::new(values, shape), &model.device())
    }
}

/// The values of each sequence.
fn rows_of(reading: &Reading, batch: &ProbeBatch, prefix: &Prefix) -> Vec<Vec<f32>> {
    let Some(hidden) = &prefix.hidden else { return Vec::new() };
    let [rows, positions, width] = hidden.dims();
    by_sequence(&hidden.clone().reshape([rows * positions, width]), &tokens_of(reading, batch))
}

/// Tokens of each sequence that a prefix holds.
fn tokens_of(reading: &Reading, batch: &ProbeBatch) -> Vec<usize> {
    match reading.tokens() {
        PrefixTokens::All => vec![batch.seq(); batch.inputs.batch_size()],
        PrefixTokens::Selected => batch.selected_per_sequence(),
    }
}

/// The rows of a matrix `[tokens, width]` on the host, sequence by sequence.
pub(crate) fn by_sequence(matrix: &Tensor<2>, tokens: &[usize]) -> Vec<Vec<f32>> {
    let [_, width] = matrix.dims();
    let values: Vec<f32> = matrix.to_data_as::<f32>().iter().collect();
    let mut rest = values.as_slice();
    let take = |count: &usize| {
        let (row, after) = rest.split_at((count * width).min(rest.len()));
        rest = after;
        row.to_vec()
    };
    tokens.iter().map(take).collect()
}
