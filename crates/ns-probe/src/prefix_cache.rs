//! Prefixes of examples, computed once.

use std::collections::HashMap;

use burn::tensor::{Tensor, TensorData};
use ns_models::Transformer;

use crate::{Prefix, PrefixTokens, ProbeBatch, ProbeError, Reading};

const MEGABYTE: usize = 1 << 20;
const VALUE: usize = size_of::<f32>();

/// Keeps the prefixes of examples on the host, up to a bound on memory.
///
/// Every epoch sees every example once, so what does not fit is computed again and nothing is thrown out for it. A
/// vector depends on its own sequence and on how far that is padded, so an example is kept for each length it comes
/// in. On backends whose matrix products give a row the same bits in a batch of any size, cached and computed prefixes
/// are the same bits. The CPU's do for layers of more than 64 outputs and for those of at most 512 inputs, that is for
/// all models in use.
#[derive(Debug)]
pub struct PrefixCache {
    /// Bytes.
    bound: usize,
    used: usize,
    /// By example and length of its sequence.
    kept: HashMap<(usize, usize), Vec<f32>>,
}

impl PrefixCache {
    /// A cache of so many megabytes (of 2²⁰ bytes); with 0 nothing is kept.
    pub fn of_megabytes(megabytes: usize) -> Self {
        Self::of_bytes(megabytes.saturating_mul(MEGABYTE))
    }

    /// A cache of so many bytes; with 0 nothing is kept.
    pub fn of_bytes(bound: usize) -> Self {
        Self { bound, used: 0, kept: HashMap::new() }
    }

    /// Forgets what it kept.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.used = 0;
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Checks that a batch fits.
    ///
    /// # Errors
    /// [`ProbeError::PrefixCache`] if the cache is not off, and too small.
    pub fn check<M: Transformer>(&self, reading: Reading, model: &M, batch: &ProbeBatch) -> Result<(), ProbeError> {
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
        reading: Reading,
        model: &M,
        examples: &[usize],
        batch: &ProbeBatch,
    ) -> Result<Prefix, ProbeError> {
        if !self.is_used_for(reading) {
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
        let missing: Vec<usize> =
            (0..sequences).filter(|row| !self.kept.contains_key(&(examples[*row], seq))).collect();
        if missing.len() == sequences {
            let prefix = reading.prefix(model, batch)?;
            self.keep(reading, examples, seq, batch, &prefix);
            return Ok(prefix);
        }
        let mut computed = HashMap::new();
        if !missing.is_empty() {
            let some = batch.of_sequences(&missing);
            let prefix = reading.prefix(model, &some)?;
            let rows = rows_of(reading, &some, &prefix);
            computed = missing.iter().map(|row| examples[*row]).zip(rows).collect();
        }
        let hidden = self.assemble(model, examples, seq, &computed, reading.tokens());
        computed.into_iter().for_each(|(example, row)| self.keep_row((example, seq), row));
        Ok(Prefix { hidden: Some(hidden) })
    }

    fn is_used_for(&self, reading: Reading) -> bool {
        self.bound > 0 && reading.is_worth_keeping()
    }

    fn keep(&mut self, reading: Reading, examples: &[usize], seq: usize, batch: &ProbeBatch, prefix: &Prefix) {
        for (example, row) in examples.iter().zip(rows_of(reading, batch, prefix)) {
            self.keep_row((*example, seq), row);
        }
    }

    fn keep_row(&mut self, key: (usize, usize), row: Vec<f32>) {
        let bytes = row.len() * VALUE;
        if self.used + bytes <= self.bound && !self.kept.contains_key(&key) {
            self.used += bytes;
            self.kept.insert(key, row);
        }
    }

    /// One tensor of all rows.
    fn assemble<M: Transformer>(
        &self,
        model: &M,
        examples: &[usize],
        seq: usize,
        computed: &HashMap<usize, Vec<f32>>,
        tokens: PrefixTokens,
    ) -> Tensor<3> {
        let rows = examples.iter().filter_map(|example| self.kept.get(&(*example, seq)).or(computed.get(example)));
        let rows: Vec<&[f32]> = rows.map(Vec::as_slice).collect();
        let (values, hidden) = (rows.concat(), model.hidden_size());
        let shape = match tokens {
            PrefixTokens::All => [examples.len(), seq, hidden],
            PrefixTokens::Selected => [values.len() / hidden, 1, hidden],
        };
        Tensor::from_data(TensorData::new(values, shape), &model.device())
    }
}

/// The values of each sequence.
fn rows_of(reading: Reading, batch: &ProbeBatch, prefix: &Prefix) -> Vec<Vec<f32>> {
    let Some(hidden) = &prefix.hidden else { return Vec::new() };
    let [rows, positions, width] = hidden.dims();
    let data = hidden.to_data_as::<f32>();
    let values: Vec<f32> = data.iter().collect();
    match reading.tokens() {
        PrefixTokens::All => values.chunks(positions * width).take(rows).map(Into::into).collect(),
        PrefixTokens::Selected => {
            let mut rest = values.as_slice();
            let take = |count: usize| {
                let (row, after) = rest.split_at(count * width);
                rest = after;
                row.to_vec()
            };
            batch.selected_per_sequence().into_iter().map(take).collect()
        }
    }
}
