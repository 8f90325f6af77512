//! Prefixes of examples, computed once.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{Tensor, TensorData};
use ns_models::{Site, Transformer};

use crate::batch::ProbeBatch;
use crate::cache_store::{CacheKey, CacheStore, Example, VALUE};
use crate::error::ProbeError;
use crate::frozen_activations::{FrozenActivations, FrozenTokens};
use crate::plan::ProbePlan;
use crate::products::{KnownProducts, Rows, by_sequence};

const MEGABYTE: usize = 1 << 20;
/// Tokens whose frozen activations is computed at once. All of a large batch would be the peak of a run's memory, as every block
/// below works on them, and slower for leaving the processor's cache.
const PIECE: usize = 2048;

/// Keeps the frozen activations of examples on the host, up to a bound on memory; for one base model and one set of examples.
///
/// Every epoch sees every example once, so what does not fit is computed again and nothing in use is thrown out for it.
/// A vector depends on its own sequence and on how far that is padded, so an example is kept for each length it comes
/// in. On backends whose matrix products give a row the same bits in a batch of any size, cached and computed frozen activations
/// are the same bits. The CPU's do for layers of more than 64 outputs and for those of at most 512 inputs, that is for
/// all models in use.
///
/// Where layers with neuron masks read the frozen activations, what they multiply is the same in every epoch, too, and kept as long
/// as there is room for it beside the frozen activations.
///
/// Several probes on one base share what they know through [`another`](Self::another): seeds and components of a block
/// have the same frozen activations, and that of a block goes on from one further below. What probes have left behind stays until
/// others need the room.
#[derive(Debug)]
pub struct ActivationCache {
    /// Bytes.
    bound: usize,
    store: Arc<Mutex<CacheStore>>,
    in_use: HashSet<CacheKey>,
}

impl ActivationCache {
    /// A cache of so many megabytes (of 2²⁰ bytes); with 0 nothing is kept.
    pub fn with_megabytes(megabytes: usize) -> Self {
        Self::with_bytes(megabytes.saturating_mul(MEGABYTE))
    }

    /// A cache of so many bytes; with 0 nothing is kept.
    pub fn with_bytes(bound: usize) -> Self {
        Self { bound, store: Arc::new(Mutex::new(CacheStore::with_bytes(bound))), in_use: HashSet::new() }
    }

    /// A cache for another probe on the same base and the same examples, within the same bound.
    pub fn another(&self) -> Self {
        Self { bound: self.bound, store: self.store.clone(), in_use: HashSet::new() }
    }

    /// Says that what was used so far is needed no more.
    pub fn release(&mut self) {
        let mut store = lock(&self.store);
        for key in self.in_use.drain() {
            store.release(&key);
        }
    }

    /// Bytes in use, by all who share it.
    pub fn used(&self) -> usize {
        self.store().used()
    }

    /// Checks that a batch fits.
    ///
    /// # Errors
    /// [`ProbeError::ActivationCache`] if the cache is not off, and too small.
    pub fn check<M: Transformer>(&self, plan: &ProbePlan, model: &M, batch: &ProbeBatch) -> Result<(), ProbeError> {
        let [sequences, seq] = model.stream_dims(&batch.inputs)?;
        let tokens = match plan.tokens() {
            FrozenTokens::All => sequences * seq,
            FrozenTokens::Selected => batch.token_mask.iter().filter(|selected| **selected).count(),
        };
        let needed = tokens * model.hidden_size() * VALUE;
        match self.bound > 0 && plan.is_worth_keeping() && needed > self.bound {
            true => {
                let megabytes = |bytes: usize| bytes.div_ceil(MEGABYTE);
                Err(ProbeError::ActivationCache { needed: megabytes(needed), given: megabytes(self.bound) })
            }
            false => Ok(()),
        }
    }

    /// The frozen activations of a batch whose sequences are these examples, looked up or computed.
    ///
    /// # Errors
    /// As [`ProbePlan::frozen activations`]; [`ProbeError::Batch`] unless there are as many examples as
    /// sequences.
    pub fn frozen_activations<M: Transformer>(
        &mut self,
        plan: &ProbePlan,
        model: &M,
        examples: &[usize],
        batch: &ProbeBatch,
    ) -> Result<FrozenActivations, ProbeError> {
        let Some(start) = plan.start().filter(|_| self.bound > 0) else {
            return plan.frozen_activations(model, batch);
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
            Asked { plan, start, model, examples: examples.iter().map(|example| (*example, seq)).collect(), batch };
        let frozen = match plan.is_worth_keeping() {
            true => self.hidden(&asked)?,
            false => plan.frozen_activations(model, batch)?,
        };
        let products = self.products(&asked, &frozen)?;
        Ok(FrozenActivations { products, ..frozen })
    }

    /// The frozen activations without products.
    fn hidden<M: Transformer>(&mut self, asked: &Asked<'_, M>) -> Result<FrozenActivations, ProbeError> {
        let key = CacheKey::Frozen(asked.start, asked.plan.tokens());
        self.acquire(&key);
        let known: Vec<Option<Rows>> = {
            let store = self.store();
            asked.examples.iter().map(|example| store.get(&key, *example)).collect()
        };
        let missing: Vec<usize> = (0..known.len()).filter(|row| known[*row].is_none()).collect();
        if missing.len() == known.len() {
            let frozen = self.compute(asked, asked.batch, &asked.examples)?;
            self.keep(&key, &asked.examples, rows_of(asked.plan, asked.batch, &frozen));
            return Ok(frozen);
        }
        let mut computed = HashMap::new();
        if !missing.is_empty() {
            let (some, examples) = (asked.batch.select(&missing), asked.select(&missing));
            let frozen = self.compute(asked, &some, &examples)?;
            let rows = rows_of(asked.plan, &some, &frozen);
            self.keep(&key, &examples, rows.clone());
            computed = examples.into_iter().zip(rows).collect();
        }
        let rows = asked.examples.iter().zip(known);
        let rows: Vec<Rows> = rows.filter_map(|(example, known)| known.or(computed.get(example).cloned())).collect();
        Ok(FrozenActivations::new(asked.assemble(&rows, asked.plan.tokens())))
    }

    /// Goes on from the last site that is known of these examples, or from the embeddings, piece by piece.
    fn compute<M: Transformer>(
        &self,
        asked: &Asked<'_, M>,
        batch: &ProbeBatch,
        examples: &[Example],
    ) -> Result<FrozenActivations, ProbeError> {
        let piece = |range: Range<usize>| {
            let examples = &examples[range.clone()];
            let below = self.store().highest_below(asked.start, examples);
            let below = below.map(|(site, rows)| (site, asked.assemble(&rows, FrozenTokens::All)));
            asked.plan.frozen_from(asked.model, &batch.select(&range.collect::<Vec<_>>()), below)
        };
        let tokens = tokens_of(asked.plan, batch);
        let not_empty = |range: &Range<usize>| tokens[range.clone()].iter().any(|count| *count > 0);
        let pieces = pieces(examples).filter(not_empty).map(piece).collect::<Result<Vec<_>, _>>()?;
        let mut hidden: Vec<Tensor<3>> = pieces.into_iter().filter_map(|frozen| frozen.hidden).collect();
        match hidden.len() {
            0 => asked.plan.frozen_activations(asked.model, batch),
            1 => Ok(FrozenActivations::new(hidden.remove(0))),
            _ => Ok(FrozenActivations::new(Tensor::cat(hidden, 0))),
        }
    }

    /// The products that follow a frozen activations, where the cache has them or keeps them now.
    fn products<M: Transformer>(
        &mut self,
        asked: &Asked<'_, M>,
        frozen: &FrozenActivations,
    ) -> Result<KnownProducts, ProbeError> {
        let plan = asked.plan;
        if !plan.feeds_masks() {
            return Ok(KnownProducts::default());
        }
        let key = CacheKey::Products(asked.start, plan.tokens(), plan.fed());
        self.acquire(&key);
        if let Some(known) = self.known_products(&key, asked) {
            return Ok(known);
        }
        let tokens = tokens_of(plan, asked.batch);
        if tokens.contains(&0) {
            return Ok(KnownProducts::default());
        }
        for range in pieces(&asked.examples) {
            if !self.store().is_open(&key) {
                return Ok(KnownProducts::default());
            }
            let batch = asked.batch.select(&range.clone().collect::<Vec<_>>());
            let recorded = plan.products(asked.model, &frozen.select(range.clone(), &tokens), &batch)?;
            self.keep_products(&key, &asked.examples[range.clone()], &tokens[range], &recorded);
        }
        Ok(self.known_products(&key, asked).unwrap_or_default())
    }

    fn known_products<M: Transformer>(&self, key: &CacheKey, asked: &Asked<'_, M>) -> Option<KnownProducts> {
        let (known, keys) = {
            let store = self.store();
            (store.all(key, &asked.examples)?, store.keys(key).to_vec())
        };
        Some(KnownProducts::assemble(keys, &known, &asked.model.device()))
    }

    fn keep_products(&self, key: &CacheKey, examples: &[Example], tokens: &[usize], recorded: &KnownProducts) {
        let (keys, rows) = (recorded.keys(), recorded.by_sequence(tokens));
        let mut store = self.store();
        if keys.is_empty() {
            // Where there is nothing to keep, there will not be later.
            return store.close(key);
        }
        for (example, rows) in examples.iter().zip(rows) {
            store.put(key, &keys, *example, Arc::new(rows));
        }
    }

    fn keep(&self, key: &CacheKey, examples: &[Example], rows: Vec<Rows>) {
        let mut store = self.store();
        for (example, rows) in examples.iter().zip(rows) {
            store.put(key, &[], *example, rows);
        }
    }

    fn acquire(&mut self, key: &CacheKey) {
        if self.in_use.insert(key.clone()) {
            self.store().acquire(key);
        }
    }

    fn store(&self) -> MutexGuard<'_, CacheStore> {
        lock(&self.store)
    }
}

impl Drop for ActivationCache {
    fn drop(&mut self) {
        self.release();
    }
}

/// The store. A panic elsewhere loses an example at most, so poison is ignored.
fn lock(store: &Mutex<CacheStore>) -> MutexGuard<'_, CacheStore> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A batch whose frozen activations is wanted.
struct Asked<'a, M> {
    plan: &'a ProbePlan,
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
    fn assemble(&self, rows: &[Rows], tokens: FrozenTokens) -> Tensor<3> {
        let of_examples: Vec<&[f32]> = rows.iter().flat_map(|rows| rows.iter().map(Vec::as_slice)).collect();
        let (values, hidden) = (of_examples.concat(), self.model.hidden_size());
        let vectors = values.len() / hidden;
        let shape = match tokens {
            FrozenTokens::All => [rows.len(), vectors / rows.len(), hidden],
            FrozenTokens::Selected => [vectors, 1, hidden],
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
fn rows_of(plan: &ProbePlan, batch: &ProbeBatch, frozen: &FrozenActivations) -> Vec<Rows> {
    let Some(hidden) = &frozen.hidden else { return Vec::new() };
    let [rows, positions, width] = hidden.dims();
    let rows = by_sequence(&hidden.clone().reshape([rows * positions, width]), &tokens_of(plan, batch));
    rows.into_iter().map(|row| Arc::new(vec![row])).collect()
}

/// Tokens of each sequence that a frozen activations holds.
fn tokens_of(plan: &ProbePlan, batch: &ProbeBatch) -> Vec<usize> {
    match plan.tokens() {
        FrozenTokens::All => vec![batch.seq(); batch.inputs.batch_size()],
        FrozenTokens::Selected => batch.selected_per_sequence(),
    }
}
