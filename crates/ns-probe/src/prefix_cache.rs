//! Prefixes of examples, computed once.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{Tensor, TensorData};
use ns_models::{Site, Transformer};

use crate::output_masks::KnownProducts;
use crate::shelves::{Example, Rows, Shelf, Shelves, VALUE};
use crate::{Prefix, PrefixTokens, ProbeBatch, ProbeError, Reading};

const MEGABYTE: usize = 1 << 20;
/// Tokens whose prefix is computed at once. All of a large batch would be the peak of a run's memory, as every block
/// below works on them, and slower for leaving the processor's cache.
const PIECE: usize = 2048;

/// Keeps the prefixes of examples on the host, up to a bound on memory; for one base model and one set of examples.
///
/// Every epoch sees every example once, so what does not fit is computed again and nothing in use is thrown out for it.
/// A vector depends on its own sequence and on how far that is padded, so an example is kept for each length it comes
/// in. On backends whose matrix products give a row the same bits in a batch of any size, cached and computed prefixes
/// are the same bits. The CPU's do for layers of more than 64 outputs and for those of at most 512 inputs, that is for
/// all models in use.
///
/// Where layers with neuron masks read the prefix, what they multiply is the same in every epoch, too, and kept as long
/// as there is room for it beside the prefixes.
///
/// Several probes on one base share what they know through [`another`](Self::another): seeds and components of a block
/// have the same prefix, and that of a block goes on from one further below. What probes have left behind stays until
/// others need the room.
#[derive(Debug)]
pub struct PrefixCache {
    /// Bytes.
    bound: usize,
    shelves: Arc<Mutex<Shelves>>,
    in_use: HashSet<Shelf>,
}

impl PrefixCache {
    /// A cache of so many megabytes (of 2²⁰ bytes); with 0 nothing is kept.
    pub fn of_megabytes(megabytes: usize) -> Self {
        Self::of_bytes(megabytes.saturating_mul(MEGABYTE))
    }

    /// A cache of so many bytes; with 0 nothing is kept.
    pub fn of_bytes(bound: usize) -> Self {
        Self { bound, shelves: Arc::new(Mutex::new(Shelves::of_bytes(bound))), in_use: HashSet::new() }
    }

    /// A cache for another probe on the same base and the same examples, within the same bound.
    pub fn another(&self) -> Self {
        Self { bound: self.bound, shelves: self.shelves.clone(), in_use: HashSet::new() }
    }

    /// Says that what was used so far is needed no more.
    pub fn release(&mut self) {
        let mut shelves = lock(&self.shelves);
        for shelf in self.in_use.drain() {
            shelves.leave(&shelf);
        }
    }

    /// Bytes in use, by all who share it.
    pub fn used(&self) -> usize {
        self.shelves().used()
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
        match self.bound > 0 && reading.is_worth_keeping() && needed > self.bound {
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
        let Some(start) = reading.start().filter(|_| self.bound > 0) else {
            return reading.prefix(model, batch);
        };
        let [sequences, seq] = model.stream_dims(&batch.inputs)?;
        if examples.len() != sequences {
            return Err(ProbeError::Batch {
                what: "examples",
                found: examples.len().to_string(),
                expected: format!("there are {sequences} sequences"),
            });
        }
        let asked =
            Asked { reading, start, model, examples: examples.iter().map(|example| (*example, seq)).collect(), batch };
        let prefix = match reading.is_worth_keeping() {
            true => self.hidden(&asked)?,
            false => reading.prefix(model, batch)?,
        };
        let products = self.products(&asked, &prefix)?;
        Ok(Prefix { products, ..prefix })
    }

    /// The prefix without products.
    fn hidden<M: Transformer>(&mut self, asked: &Asked<'_, M>) -> Result<Prefix, ProbeError> {
        let shelf = Shelf::Prefixes(asked.start, asked.reading.tokens());
        self.take_up(&shelf);
        let known: Vec<Option<Rows>> = {
            let shelves = self.shelves();
            asked.examples.iter().map(|example| shelves.get(&shelf, *example)).collect()
        };
        let missing: Vec<usize> = (0..known.len()).filter(|row| known[*row].is_none()).collect();
        if missing.len() == known.len() {
            let prefix = self.compute(asked, asked.batch, &asked.examples)?;
            self.keep(&shelf, &asked.examples, rows_of(asked.reading, asked.batch, &prefix));
            return Ok(prefix);
        }
        let mut computed = HashMap::new();
        if !missing.is_empty() {
            let (some, examples) = (asked.batch.of_sequences(&missing), asked.select(&missing));
            let prefix = self.compute(asked, &some, &examples)?;
            let rows = rows_of(asked.reading, &some, &prefix);
            self.keep(&shelf, &examples, rows.clone());
            computed = examples.into_iter().zip(rows).collect();
        }
        let rows = asked.examples.iter().zip(known);
        let rows: Vec<Rows> = rows.filter_map(|(example, known)| known.or(computed.get(example).cloned())).collect();
        Ok(Prefix::of(asked.assemble(&rows, asked.reading.tokens())))
    }

    /// Goes on from the last site that is known of these examples, or from the embeddings, piece by piece.
    fn compute<M: Transformer>(
        &self,
        asked: &Asked<'_, M>,
        batch: &ProbeBatch,
        examples: &[Example],
    ) -> Result<Prefix, ProbeError> {
        let piece = |range: Range<usize>| {
            let examples = &examples[range.clone()];
            let below = self.shelves().highest_below(asked.start, examples);
            let below = below.map(|(site, rows)| (site, asked.assemble(&rows, PrefixTokens::All)));
            asked.reading.prefix_from(asked.model, &batch.of_sequences(&range.collect::<Vec<_>>()), below)
        };
        let tokens = tokens_of(asked.reading, batch);
        let not_empty = |range: &Range<usize>| tokens[range.clone()].iter().any(|count| *count > 0);
        let pieces = pieces(examples).filter(not_empty).map(piece).collect::<Result<Vec<_>, _>>()?;
        let mut hidden: Vec<Tensor<3>> = pieces.into_iter().filter_map(|prefix| prefix.hidden).collect();
        match hidden.len() {
            0 => asked.reading.prefix(asked.model, batch),
            1 => Ok(Prefix::of(hidden.remove(0))),
            _ => Ok(Prefix::of(Tensor::cat(hidden, 0))),
        }
    }

    /// The products that follow a prefix, where the cache has them or keeps them now.
    fn products<M: Transformer>(&mut self, asked: &Asked<'_, M>, prefix: &Prefix) -> Result<KnownProducts, ProbeError> {
        let reading = asked.reading;
        if !reading.feeds_masks() {
            return Ok(KnownProducts::default());
        }
        let shelf = Shelf::Products(asked.start, reading.tokens(), reading.fed());
        self.take_up(&shelf);
        if let Some(known) = self.known_products(&shelf, asked) {
            return Ok(known);
        }
        let tokens = tokens_of(reading, asked.batch);
        if tokens.contains(&0) {
            return Ok(KnownProducts::default());
        }
        for range in pieces(&asked.examples) {
            if !self.shelves().is_open(&shelf) {
                return Ok(KnownProducts::default());
            }
            let batch = asked.batch.of_sequences(&range.clone().collect::<Vec<_>>());
            let recorded = reading.products(asked.model, &prefix.of_sequences(range.clone(), &tokens), &batch)?;
            self.keep_products(&shelf, &asked.examples[range.clone()], &tokens[range], &recorded);
        }
        Ok(self.known_products(&shelf, asked).unwrap_or_default())
    }

    fn known_products<M: Transformer>(&self, shelf: &Shelf, asked: &Asked<'_, M>) -> Option<KnownProducts> {
        let (known, keys) = {
            let shelves = self.shelves();
            (shelves.all(shelf, &asked.examples)?, shelves.keys(shelf).to_vec())
        };
        Some(KnownProducts::assemble(keys, &known, &asked.model.device()))
    }

    fn keep_products(&self, shelf: &Shelf, examples: &[Example], tokens: &[usize], recorded: &KnownProducts) {
        let (keys, rows) = (recorded.keys(), recorded.by_sequence(tokens));
        let mut shelves = self.shelves();
        if keys.is_empty() {
            // Where there is nothing to keep, there will not be later.
            return shelves.close(shelf);
        }
        for (example, rows) in examples.iter().zip(rows) {
            shelves.put(shelf, &keys, *example, Arc::new(rows));
        }
    }

    fn keep(&self, shelf: &Shelf, examples: &[Example], rows: Vec<Rows>) {
        let mut shelves = self.shelves();
        for (example, rows) in examples.iter().zip(rows) {
            shelves.put(shelf, &[], *example, rows);
        }
    }

    fn take_up(&mut self, shelf: &Shelf) {
        if self.in_use.insert(shelf.clone()) {
            self.shelves().take_up(shelf);
        }
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        lock(&self.shelves)
    }
}

impl Drop for PrefixCache {
    fn drop(&mut self) {
        self.release();
    }
}

/// The shelves. A panic elsewhere loses an example at most, so poison is ignored.
fn lock(shelves: &Mutex<Shelves>) -> MutexGuard<'_, Shelves> {
    shelves.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A batch whose prefix is wanted.
struct Asked<'a, M> {
    reading: &'a Reading,
    start: Site,
    model: &'a M,
    examples: Vec<Example>,
    batch: &'a ProbeBatch,
}

impl<M: Transformer> Asked<'_, M> {
    fn select(&self, places: &[usize]) -> Vec<Example> {
        places.iter().map(|place| self.examples[*place]).collect()
    }

    /// One tensor of all rows.
    fn assemble(&self, rows: &[Rows], tokens: PrefixTokens) -> Tensor<3> {
        let of_examples: Vec<&[f32]> = rows.iter().flat_map(|rows| rows.iter().map(Vec::as_slice)).collect();
        let (values, hidden) = (of_examples.concat(), self.model.hidden_size());
        let vectors = values.len() / hidden;
        let shape = match tokens {
            PrefixTokens::All => [rows.len(), vectors / rows.len(), hidden],
            PrefixTokens::Selected => [vectors, 1, hidden],
        };
        Tensor::from_data(TensorData::new(values, shape), &self.model.device())
    }
}

/// Ranges of sequences, in each of which there are not many more than [`PIECE`] tokens.
fn pieces(examples: &[Example]) -> impl Iterator<Item = Range<usize>> {
    let count = examples.len();
    let sequences = examples.first().map_or(1, |(_, seq)| PIECE.div_ceil(*seq).max(1));
    (0..count).step_by(sequences).map(move |start| start..(start + sequences).min(count))
}

/// The values of each sequence.
fn rows_of(reading: &Reading, batch: &ProbeBatch, prefix: &Prefix) -> Vec<Rows> {
    let Some(hidden) = &prefix.hidden else { return Vec::new() };
    let [rows, positions, width] = hidden.dims();
    let rows = by_sequence(&hidden.clone().reshape([rows * positions, width]), &tokens_of(reading, batch));
    rows.into_iter().map(|row| Arc::new(vec![row])).collect()
}

/// Tokens of each sequence that a prefix holds.
fn tokens_of(reading: &Reading, batch: &ProbeBatch) -> Vec<usize> {
    match reading.tokens() {
        PrefixTokens::All => vec![batch.seq(); batch.inputs.batch_size()],
        PrefixTokens::Selected => batch.selected_per_sequence(),
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
