//! What a study measures a model on: batches of examples with their right answers.

use std::cell::RefCell;

use burn::tensor::{Int, Tensor, TensorData};
use ns_circuit::CircuitModel;
use ns_models::{AnyTransformer, Context, Head, Hook, Ignore, Model, Positions, Site, Transformer};
use ns_probe::{ActivationCache, ProbeBatch, ProbePlan};

use super::candidates::{AnswerBatch, Answers};
use super::prefix_tree::PrefixTree;
use super::scores::{Answering, answer_hidden, answer_hidden_after, finished, scores_of_hidden};
use crate::data::{Dataset, Examples};
use crate::error::TrainError;

/// Examples per forward pass of a model with a classification head.
const CLASSIFIED: usize = 128;
/// Most examples per forward pass of a language model.
const EXAMPLES: usize = 1024;
/// Most positions per forward pass of a language model.
const POSITIONS: usize = 4096;
/// Largest share of the work of separate sequences that trees of sequences may need to be worth it.
const WORTH_SHARING: f64 = 0.85;

/// Batches of examples, and what a model predicts for them.
pub(crate) trait Subject<M> {
    /// The right answers of each batch.
    fn answers(&self) -> &[AnswerBatch];

    /// What the head of a model reads of a batch: for a language model its vectors at the selected tokens, otherwise the
    /// logits themselves, which are small.
    ///
    /// # Shapes
    /// - output: `[labels, hidden]`, or `[labels, answers]`
    ///
    /// # Errors
    /// Returns an error if the forward pass fails.
    fn hidden(&self, model: &M, batch: usize) -> Result<Tensor<2>, TrainError>;

    /// The logits of a model, from what its head reads.
    ///
    /// # Shapes
    /// - output: `[labels, answers]`
    ///
    /// # Errors
    /// Returns an error if the model has no head for the answers.
    fn scores(&self, model: &M, hidden: Tensor<2>) -> Result<Tensor<2>, TrainError>;
}

/// A [`Subject`] whose forward passes call hooks.
pub(crate) trait HookedSubject<M>: Subject<M> {
    /// Like [`Subject::hidden`], but the linear layers in the blocks call the hook that `hook` returns for the batch: from
    /// its rows, their number of tokens, and the positions at which the last block is computed, if these are not all.
    ///
    /// # Errors
    /// Returns an error if the forward pass fails, and the errors of `hook`.
    fn hidden_with(&self, model: &M, batch: usize, hook: &mut HookOfBatch<'_>) -> Result<Tensor<2>, TrainError>;
}

/// Makes the hook for a batch.
pub(crate) type HookOfBatch<'a> = dyn FnMut(&[usize], usize, Option<Positions>) -> Result<Hook, TrainError> + 'a;

/// The hook of a forward pass without one.
fn no_hook(_rows: &[usize], _seq: usize, _narrowed: Option<Positions>) -> Result<Hook, TrainError> {
    Ok(None)
}

/// The hook for a batch that is padded to its longest row.
fn hook_of(
    hook: &mut HookOfBatch<'_>,
    model: &AnyTransformer,
    rows: &[usize],
    batch: &ProbeBatch,
) -> Result<Hook, TrainError> {
    let dims = model.stream_dims(&batch.inputs)?;
    let narrowed = match model.head().is_language_model() {
        true => batch.narrowed_positions(dims, &model.device())?,
        false => None,
    };
    hook(rows, dims[1], narrowed)
}

/// Full forward passes on some rows.
pub(crate) struct WholeModel<'a> {
    examples: &'a Examples,
    batches: Vec<Vec<usize>>,
    answers: Vec<AnswerBatch>,
}

impl<'a> WholeModel<'a> {
    /// The batches of some rows for a model with the head `head`.
    pub(crate) fn new(answers: &'a Answers, rows: &[usize], head: Head) -> Self {
        let batches = batches(&answers.examples, rows, head, CLASSIFIED);
        let keys = batches.iter().map(|rows| answers.batch(rows)).collect();
        Self { examples: &answers.examples, batches, answers: keys }
    }
}

impl<M: Answering> Subject<M> for WholeModel<'_> {
    fn answers(&self) -> &[AnswerBatch] {
        &self.answers
    }

    fn hidden(&self, model: &M, batch: usize) -> Result<Tensor<2>, TrainError> {
        self.hidden_with(model, batch, &mut no_hook)
    }

    fn scores(&self, model: &M, hidden: Tensor<2>) -> Result<Tensor<2>, TrainError> {
        scores_of_hidden(model, hidden)
    }
}

impl<M: Answering> HookedSubject<M> for WholeModel<'_> {
    fn hidden_with(&self, model: &M, batch: usize, hook: &mut HookOfBatch<'_>) -> Result<Tensor<2>, TrainError> {
        let rows = &self.batches[batch];
        let batch = self.examples.batch(rows, &model.device())?;
        let hook = model.transformer().map(|transformer| hook_of(hook, transformer, rows, &batch)).transpose()?;
        answer_hidden(model, &batch, hook.flatten())
    }
}

/// Divides rows into batches. Those of a language model hold rows of one length, so that nothing is padded; others hold
/// `classified` rows.
pub(super) fn batches(examples: &Examples, rows: &[usize], head: Head, classified: usize) -> Vec<Vec<usize>> {
    if !head.is_language_model() {
        return rows.chunks(classified).map(<[usize]>::to_vec).collect();
    }
    batches_of_one_length(examples, rows, POSITIONS)
}

/// Divides rows into batches of one length each, with at most `positions` tokens or one row.
pub(super) fn batches_of_one_length(examples: &Examples, rows: &[usize], positions: usize) -> Vec<Vec<usize>> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| examples.n_tokens(*row));
    let equal = rows.chunk_by(|left, right| examples.n_tokens(*left) == examples.n_tokens(*right));
    equal.flat_map(|rows| rows.chunks(sized(examples, rows[0], positions)).map(<[usize]>::to_vec)).collect()
}

/// Number of rows as long as `row` per forward pass of at most `positions` tokens.
fn sized(examples: &Examples, row: usize, positions: usize) -> usize {
    (positions / examples.n_tokens(row).max(1)).clamp(1, EXAMPLES)
}

/// Forward passes of a transformer on some rows that continue from frozen activations, because no mask changes them.
pub(crate) struct FrozenModel<'a> {
    examples: &'a Examples,
    plan: ProbePlan,
    batches: Batches,
    answers: Vec<AnswerBatch>,
}

/// How the rows of a [`FrozenModel`] are divided.
enum Batches {
    /// Sequences. Their frozen activations are in the cache of the probe.
    Sequences(Vec<Vec<usize>>, RefCell<ActivationCache>),
    /// Trees of sequences that begin alike, with what does not change between forward passes once it is computed: the
    /// context, and the frozen activations.
    Trees(Vec<PrefixTree>, RefCell<Vec<Option<(Context, Tensor<3>)>>>),
}

impl<'a> FrozenModel<'a> {
    /// The batches of some rows for a circuit in evaluation mode. With `shared`, rows that begin alike may share the tokens
    /// with which they begin.
    pub(crate) fn new(
        circuit: &CircuitModel<AnyTransformer>,
        activations: &mut ActivationCache,
        answers: &'a Answers,
        rows: &[usize],
        shared: bool,
    ) -> Result<Self, TrainError> {
        let layers: Vec<String> = circuit.layers().into_iter().map(|layer| layer.name).collect();
        let plan = ProbePlan::all_blocks(circuit.base(), &layers);
        activations.release();
        let examples = &answers.examples;
        let trees = if shared { trees(circuit.base(), &plan, examples, rows)? } else { None };
        let batches = match trees {
            Some(trees) => {
                let frozen = RefCell::new(vec![None; trees.len()]);
                Batches::Trees(trees, frozen)
            }
            None => {
                let classified = rows.first().map_or(1, |row| sized(examples, *row, POSITIONS));
                let batches = batches(examples, rows, circuit.base().head(), classified);
                Batches::Sequences(batches, RefCell::new(activations.another()))
            }
        };
        let rows: Vec<&[usize]> = match &batches {
            Batches::Sequences(batches, _) => batches.iter().map(Vec::as_slice).collect(),
            Batches::Trees(trees, _) => trees.iter().map(|tree| &*tree.rows).collect(),
        };
        let keys = rows.into_iter().map(|rows| answers.batch(rows)).collect();
        Ok(Self { examples, plan, batches, answers: keys })
    }

    fn of_sequences(
        &self,
        model: &AnyTransformer,
        rows: &[usize],
        activations: &RefCell<ActivationCache>,
        hook: &mut HookOfBatch<'_>,
    ) -> Result<Tensor<2>, TrainError> {
        let batch = self.examples.batch(rows, &model.device())?;
        let hook = hook_of(hook, model, rows, &batch)?;
        // The plan holds the activations of all tokens.
        let all = ProbeBatch { token_mask: vec![true; batch.token_mask.len()], means: Vec::new(), ..batch.clone() };
        let frozen = activations.borrow_mut().frozen_activations(&self.plan, model, rows, &all)?;
        answer_hidden_after(model, &batch, hook, |context| {
            Ok(self.plan.walk_blocks(model, &frozen, &batch.inputs, context, &mut Ignore)?)
        })
    }

    fn of_tree(
        &self,
        model: &AnyTransformer,
        tree: &PrefixTree,
        frozen: &mut Option<(Context, Tensor<3>)>,
        hook: Hook,
    ) -> Result<Tensor<2>, TrainError> {
        let (device, start) = (model.device(), self.plan.start().unwrap_or(Site::Embeddings));
        let (context, hidden) = match frozen.clone() {
            Some(frozen) => frozen,
            None => {
                let context = tree.context(&device);
                let (embedded, all) = (self.embedded(model, tree)?, Positions::Span(0..tree.len()));
                let hidden = model.vectors_from(Site::Embeddings, embedded, start, all, context.clone())?;
                frozen.insert((context, hidden)).clone()
            }
        };
        let context = context.only(model.n_layers() - 1, tree.read(&device)).with_hook(hook);
        let hidden = finished(model.walk_blocks(start, hidden, &context, &mut Ignore)?)?;
        Ok(model.finish(hidden).squeeze_dim(0))
    }

    /// The embeddings of the tokens of a tree, `[1, tokens, hidden]`.
    fn embedded(&self, model: &AnyTransformer, tree: &PrefixTree) -> Result<Tensor<3>, TrainError> {
        let (mut vectors, mut starts, mut count) = (Vec::new(), vec![0; tree.rows.len()], 0);
        let mut order: Vec<usize> = (0..tree.rows.len()).collect();
        order.sort_by_key(|row| self.examples.n_tokens(tree.rows[*row]));
        // Rows of one length have no padding, so their first tokens have the first positions.
        for rows in order.chunk_by(|left, right| self.length(tree, *left) == self.length(tree, *right)) {
            let of_data: Vec<usize> = rows.iter().map(|row| tree.rows[*row]).collect();
            let hidden = model.embed(&self.examples.batch(&of_data, &model.device())?.inputs)?;
            let [batch, seq, width] = hidden.dims();
            vectors.push(hidden.reshape([batch * seq, width]));
            for row in rows {
                starts[*row] = count;
                count += seq;
            }
        }
        let places: Vec<i64> = tree.places.iter().map(|(row, at)| (starts[*row] + at) as i64).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [tree.len()]), &model.device());
        Ok(Tensor::cat(vectors, 0).select(0, places).unsqueeze_dim(0))
    }

    fn length(&self, tree: &PrefixTree, row: usize) -> usize {
        self.examples.n_tokens(tree.rows[row])
    }
}

/// Trees of the rows, if the model is causal with positions that are part of the embeddings, no mask changes the
/// embeddings, and the rows begin alike.
fn trees(
    model: &AnyTransformer,
    plan: &ProbePlan,
    examples: &Examples,
    rows: &[usize],
) -> Result<Option<Vec<PrefixTree>>, TrainError> {
    let Some(first) = rows.first().filter(|_| model.head() == Head::Lm && plan.start().is_some()) else {
        return Ok(None);
    };
    let context = model.context(&examples.batch(&[*first], &model.device())?.inputs)?;
    if context.rotary.is_some() || context.local_attention_bias.is_some() {
        return Ok(None);
    }
    let beginning = |row: usize| {
        let end = examples.positions(row).last().map_or(0, |read| *read as usize + 1);
        examples.token_ids(row).get(..end).unwrap_or_default()
    };
    let trees = PrefixTree::of(rows, beginning);
    // Of a block with 24·d² operations per token in its layers, attention to n tokens has 4·n·d.
    let work = |tokens: usize, keys: usize| tokens as f64 * (1.0 + keys as f64 / (6 * model.hidden_size()) as f64);
    let lengths = rows.iter().map(|row| examples.n_tokens(*row));
    let separate: f64 = lengths.map(|length| work(length, length)).sum();
    let shared: f64 = trees.iter().map(|tree| work(tree.len(), tree.len())).sum();
    let one_each = rows.iter().all(|row| examples.positions(*row).len() == 1);
    Ok((one_each && shared <= WORTH_SHARING * separate).then_some(trees))
}

impl Subject<AnyTransformer> for FrozenModel<'_> {
    fn answers(&self) -> &[AnswerBatch] {
        &self.answers
    }

    fn hidden(&self, model: &AnyTransformer, batch: usize) -> Result<Tensor<2>, TrainError> {
        self.hidden_with(model, batch, &mut no_hook)
    }

    fn scores(&self, model: &AnyTransformer, hidden: Tensor<2>) -> Result<Tensor<2>, TrainError> {
        scores_of_hidden(model, hidden)
    }
}

impl HookedSubject<AnyTransformer> for FrozenModel<'_> {
    fn hidden_with(
        &self,
        model: &AnyTransformer,
        batch: usize,
        hook: &mut HookOfBatch<'_>,
    ) -> Result<Tensor<2>, TrainError> {
        match &self.batches {
            Batches::Sequences(batches, activations) => self.of_sequences(model, &batches[batch], activations, hook),
            Batches::Trees(trees, frozen) => {
                let tree = &trees[batch];
                let hook = hook(&tree.rows, tree.len(), None)?;
                self.of_tree(model, tree, &mut frozen.borrow_mut()[batch], hook)
            }
        }
    }
}
