//! The activation cache: frozen activations of examples, computed once and kept on the host.
//!
//! For a batch, [`ActivationCache`] looks up one entry per example under the [`CacheKey`] of the [`ProbePlan`], and
//! computes and stores the missing entries. Several caches share a [`CacheStore`], which bounds the memory and evicts
//! entries that no cache uses any more. Cached and computed values are bit-identical, because a vector depends only on
//! its own sequence.

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
/// Number of tokens, rounded up to whole sequences, whose frozen activations are computed together. Computing a large
/// batch as a whole would set the peak memory of a run, because every block below works on it. It would also be slower,
/// because its activations would not fit into the CPU caches.
const PIECE: usize = 2048;

/// Keeps the frozen activations of examples on the host, for one base model and one data set, up to a bound on memory.
///
/// Everything below the first masked layer of a frozen base model is the same in every epoch. The cache computes these
/// activations once per example; every later epoch starts from them.
///
/// # What is cached
/// An entry holds the vectors of one example at the start of a [`ProbePlan`], either of all tokens or of the selected
/// tokens, as the plan requires. Embeddings are not cached, because they cost as much to look up as to compute. The
/// products `x · w` of layers with neuron masks whose input `x` is frozen are the same in every epoch, too; if there
/// are such layers, a second entry holds their products.
///
/// The key of an entry consists of the site, the tokens (all or selected), the layers if the entry holds products, the
/// index of the example, the length to which its sequence is padded, and whether the device has autodiff. Probes whose plans have the same start share
/// entries. Missing vectors are computed from the nearest lower site whose vectors are cached for all tokens, or else
/// from the embeddings.
///
/// # Eviction
/// When the memory is full, the entries of sites that no probe uses any more are evicted, products first, then the
/// lowest site first. Products in use are evicted, too, if frozen activations need the memory. Frozen activations in
/// use are never evicted: an epoch reads every example once, so a cache that replaced its oldest entries would evict
/// each of them before its next use. Examples that do not fit are computed in every epoch.
///
/// # Exactness
/// The cache does not change results. A vector depends on its own sequence and its padded length, not on the other
/// sequences of the batch, and the cache copies its values unchanged. Training and evaluation have entries of their own,
/// because a backend may fuse operations, as flex does a LayerNorm, only without autodiff. Cached and computed activations are therefore
/// bit-identical on every backend whose matrix products compute a row with the same bits in batches of any size. The
/// default backend, flex on the CPU, does so for linear layers with more than 64 outputs or at most 512 inputs, and so
/// for all pretrained models in use.
///
/// # Sharing
/// [`Self::another`] returns a cache for another probe, with the same entries and the same bound. A cache releases its
/// entries in [`Self::release`] and on drop. Released entries stay until the memory is needed.
#[derive(Debug)]
pub struct ActivationCache {
    /// Upper bound on the memory of the store, in bytes; 0 turns the cache off.
    bound: usize,
    store: Arc<Mutex<CacheStore>>,
    /// Keys that this cache has acquired in the store.
    in_use: HashSet<CacheKey>,
}

impl ActivationCache {
    /// Creates a cache of `megabytes` · 2²⁰ bytes; 0 turns it off.
    pub fn with_megabytes(megabytes: usize) -> Self {
        Self::with_bytes(megabytes.saturating_mul(MEGABYTE))
    }

    /// Creates a cache of `bound` bytes; 0 turns it off.
    pub fn with_bytes(bound: usize) -> Self {
        Self { bound, store: Arc::new(Mutex::new(CacheStore::with_bytes(bound))), in_use: HashSet::new() }
    }

    /// Creates a cache for another probe on the same base model and data set. Both share their entries and the bound.
    pub fn another(&self) -> Self {
        Self { bound: self.bound, store: self.store.clone(), in_use: HashSet::new() }
    }

    /// Releases all entries that this cache has used. They can then be evicted.
    pub fn release(&mut self) {
        let mut store = lock(&self.store);
        for key in self.in_use.drain() {
            store.release(&key);
        }
    }

    /// Upper bound on the memory, in bytes; 0 if the cache is off.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Number of bytes in use, by all caches that share the entries.
    pub fn used(&self) -> usize {
        self.store().used()
    }

    /// Checks that the frozen activations of a batch fit into the cache.
    ///
    /// # Errors
    /// Returns [`ProbeError::ActivationCache`] if the cache is on but too small for the batch, and
    /// [`ns_models::ModelError::InvalidInput`] if the input that the model reads is missing.
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

    /// Returns the frozen activations of a batch. Looks them up, and computes and stores those that are missing.
    ///
    /// `examples` holds the index in the data set of each sequence of the batch. An index must always stand for the
    /// same sequence with the same selected tokens.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] unless there is one example per sequence and one entry of the token mask per
    /// token, and the errors of [`ProbePlan::frozen_activations`].
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
                what: "the number of examples",
                found: examples.len().to_string(),
                expected: format!("the batch has {sequences} sequences"),
            });
        }
        batch.check_mask([sequences, seq])?;
        let autodiff = model.device().is_autodiff();
        let examples = examples.iter().map(|index| Example { index: *index, seq, autodiff }).collect();
        let request = Request { plan, start, model, examples, batch };
        let frozen = match plan.is_worth_keeping() {
            true => self.hidden(&request)?,
            false => plan.frozen_activations(model, batch)?,
        };
        let products = self.products(&request, &frozen)?;
        Ok(FrozenActivations { products, ..frozen })
    }

    /// The frozen activations without products, cached or computed.
    fn hidden<M: Transformer>(&mut self, request: &Request<'_, M>) -> Result<FrozenActivations, ProbeError> {
        let key = CacheKey::Frozen(request.start, request.plan.tokens());
        self.acquire(&key);
        let cached: Vec<Option<Rows>> = {
            let store = self.store();
            request.examples.iter().map(|example| store.get(&key, *example)).collect()
        };
        let missing: Vec<usize> = (0..cached.len()).filter(|row| cached[*row].is_none()).collect();
        if missing.len() == cached.len() {
            let frozen = self.compute(request, request.batch, &request.examples)?;
            self.insert(&key, &request.examples, rows_of(request.plan, request.batch, &frozen));
            return Ok(frozen);
        }
        let mut computed = HashMap::new();
        if !missing.is_empty() {
            let (batch, examples) = (request.batch.without_labels(&missing), request.select(&missing));
            let frozen = self.compute(request, &batch, &examples)?;
            let rows = rows_of(request.plan, &batch, &frozen);
            self.insert(&key, &examples, rows.clone());
            computed = examples.into_iter().zip(rows).collect();
        }
        let rows = request.examples.iter().zip(cached);
        let rows: Vec<Rows> = rows.filter_map(|(example, cached)| cached.or(computed.get(example).cloned())).collect();
        Ok(FrozenActivations::new(request.assemble(&rows, request.plan.tokens())))
    }

    /// Computes the frozen activations of `batch` piece by piece. Each piece continues from the highest site below that
    /// is cached for all its examples, or starts from the embeddings.
    fn compute<M: Transformer>(
        &self,
        request: &Request<'_, M>,
        batch: &ProbeBatch,
        examples: &[Example],
    ) -> Result<FrozenActivations, ProbeError> {
        let piece = |range: Range<usize>| {
            let examples = &examples[range.clone()];
            let below = self.store().highest_below(request.start, examples);
            let below = below.map(|(site, rows)| (site, request.assemble(&rows, FrozenTokens::All)));
            request.plan.frozen_from(request.model, &batch.without_labels(&range.collect::<Vec<_>>()), below)
        };
        let tokens = tokens_of(request.plan, batch);
        let not_empty = |range: &Range<usize>| tokens[range.clone()].iter().any(|count| *count > 0);
        let pieces = pieces(examples).filter(not_empty).map(piece).collect::<Result<Vec<_>, _>>()?;
        let mut hidden: Vec<Tensor<3>> = pieces.into_iter().filter_map(|frozen| frozen.hidden).collect();
        match hidden.len() {
            0 => request.plan.frozen_activations(request.model, batch),
            1 => Ok(FrozenActivations::new(hidden.remove(0))),
            _ => Ok(FrozenActivations::new(Tensor::cat(hidden, 0))),
        }
    }

    /// The products that follow from the frozen activations, cached or computed; none if they do not fit.
    fn products<M: Transformer>(
        &mut self,
        request: &Request<'_, M>,
        frozen: &FrozenActivations,
    ) -> Result<KnownProducts, ProbeError> {
        let plan = request.plan;
        if !plan.has_fed_layers() {
            return Ok(KnownProducts::default());
        }
        let key = CacheKey::Products(request.start, plan.tokens(), plan.fed_layers());
        self.acquire(&key);
        if let Some(known) = self.cached_products(&key, request) {
            return Ok(known);
        }
        let tokens = tokens_of(plan, request.batch);
        if tokens.contains(&0) {
            return Ok(KnownProducts::default());
        }
        for range in pieces(&request.examples) {
            if !self.store().is_open(&key) {
                return Ok(KnownProducts::default());
            }
            let batch = request.batch.without_labels(&range.clone().collect::<Vec<_>>());
            let recorded = plan.products(request.model, &frozen.select(range.clone(), &tokens), &batch)?;
            self.insert_products(&key, &request.examples[range.clone()], &tokens[range], &recorded);
        }
        Ok(self.cached_products(&key, request).unwrap_or_default())
    }

    /// The products of the batch, if they are cached for all its examples.
    fn cached_products<M: Transformer>(&self, key: &CacheKey, request: &Request<'_, M>) -> Option<KnownProducts> {
        let (rows, product_keys) = {
            let store = self.store();
            (store.get_all(key, &request.examples)?, store.product_keys(key).to_vec())
        };
        Some(KnownProducts::assemble(product_keys, &rows, &request.model.device()))
    }

    fn insert_products(&self, key: &CacheKey, examples: &[Example], tokens: &[usize], recorded: &KnownProducts) {
        let (product_keys, rows) = (recorded.keys(), recorded.by_sequence(tokens));
        let mut store = self.store();
        if product_keys.is_empty() {
            // Closing the key prevents a recording without result in every step.
            return store.close(key);
        }
        for (example, rows) in examples.iter().zip(rows) {
            store.insert(key, &product_keys, *example, Arc::new(rows));
        }
    }

    fn insert(&self, key: &CacheKey, examples: &[Example], rows: Vec<Rows>) {
        let mut store = self.store();
        for (example, rows) in examples.iter().zip(rows) {
            store.insert(key, &[], *example, rows);
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

/// Locks the store. A panic while it was locked loses at most one entry, so poisoning is ignored.
fn lock(store: &Mutex<CacheStore>) -> MutexGuard<'_, CacheStore> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A batch whose frozen activations are requested.
struct Request<'a, M> {
    plan: &'a ProbePlan,
    /// The start of the plan.
    start: Site,
    model: &'a M,
    /// One example per sequence of the batch.
    examples: Vec<Example>,
    batch: &'a ProbeBatch,
}

impl<M: Transformer> Request<'_, M> {
    fn select(&self, sequences: &[usize]) -> Vec<Example> {
        sequences.iter().map(|sequence| self.examples[*sequence]).collect()
    }

    /// Concatenates the entries of examples.
    ///
    /// # Shapes
    /// - output: `[examples, seq, hidden]` for all tokens, `[selected, 1, hidden]` for selected tokens
    fn assemble(&self, rows: &[Rows], tokens: FrozenTokens) -> Tensor<3> {
        let by_example: Vec<&[f32]> = rows.iter().flat_map(|rows| rows.iter().map(Vec::as_slice)).collect();
        let (values, hidden) = (by_example.concat(), self.model.hidden_size());
        let vectors = values.len() / hidden;
        let shape = match tokens {
            FrozenTokens::All => [rows.len(), vectors / rows.len(), hidden],
            FrozenTokens::Selected => [vectors, 1, hidden],
        };
        Tensor::from_data(TensorData::new(values, shape), &self.model.device())
    }
}

/// Splits a batch into ranges of sequences with at most [`PIECE`] tokens each, rounded up to whole sequences.
fn pieces(examples: &[Example]) -> impl Iterator<Item = Range<usize>> {
    let count = examples.len();
    let sequences = examples.first().map_or(1, |example| PIECE.div_ceil(example.seq).max(1));
    (0..count).step_by(sequences).map(move |start| start..(start + sequences).min(count))
}

/// Splits frozen activations into one entry per sequence.
fn rows_of(plan: &ProbePlan, batch: &ProbeBatch, frozen: &FrozenActivations) -> Vec<Rows> {
    let Some(hidden) = &frozen.hidden else { return Vec::new() };
    let [rows, positions, width] = hidden.dims();
    let rows = by_sequence(&hidden.clone().reshape([rows * positions, width]), &tokens_of(plan, batch));
    rows.into_iter().map(|row| Arc::new(vec![row])).collect()
}

/// Number of vectors of each sequence in the frozen activations of a batch.
fn tokens_of(plan: &ProbePlan, batch: &ProbeBatch) -> Vec<usize> {
    match plan.tokens() {
        FrozenTokens::All => vec![batch.seq(); batch.inputs.batch_size()],
        FrozenTokens::Selected => batch.selected_per_sequence(),
    }
}
