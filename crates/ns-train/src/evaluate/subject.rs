//! What a study measures a model on: batches of examples with their right answers.

use std::cell::RefCell;

use burn::tensor::Tensor;
use ns_circuit::CircuitModel;
use ns_models::{AnyTransformer, Head, Ignore, Model};
use ns_probe::{ActivationCache, ProbeBatch, ProbePlan};

use super::candidates::{AnswerBatch, Answers};
use super::scores::{Answering, answer_hidden, answer_hidden_after, scores_of_hidden};
use crate::data::{Dataset, Examples};
use crate::error::TrainError;

/// Examples per forward pass of a model with a classification head.
const CLASSIFIED: usize = 128;
/// Most examples per forward pass of a language model.
const EXAMPLES: usize = 1024;
/// Most positions per forward pass of a language model.
const POSITIONS: usize = 4096;

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
        answer_hidden(model, &self.examples.batch(&self.batches[batch], &model.device())?, None)
    }

    fn scores(&self, model: &M, hidden: Tensor<2>) -> Result<Tensor<2>, TrainError> {
        scores_of_hidden(model, hidden)
    }
}

/// Divides rows into batches. Those of a language model hold rows of one length, so that nothing is padded; others hold
/// `classified` rows.
fn batches(examples: &Examples, rows: &[usize], head: Head, classified: usize) -> Vec<Vec<usize>> {
    if !matches!(head, Head::Lm | Head::MaskedLm) {
        return rows.chunks(classified).map(<[usize]>::to_vec).collect();
    }
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| examples.n_tokens(*row));
    let equal = rows.chunk_by(|left, right| examples.n_tokens(*left) == examples.n_tokens(*right));
    equal.flat_map(|rows| rows.chunks(sized(examples, rows[0])).map(<[usize]>::to_vec)).collect()
}

/// Number of rows as long as `row` per forward pass.
fn sized(examples: &Examples, row: usize) -> usize {
    (POSITIONS / examples.n_tokens(row).max(1)).clamp(1, EXAMPLES)
}

/// Forward passes of a transformer on some rows that continue from cached frozen activations, because no mask changes
/// them.
pub(crate) struct FrozenModel<'a> {
    examples: &'a Examples,
    plan: ProbePlan,
    activations: RefCell<ActivationCache>,
    batches: Vec<Vec<usize>>,
    answers: Vec<AnswerBatch>,
}

impl<'a> FrozenModel<'a> {
    /// The batches of some rows for a circuit in evaluation mode.
    pub(crate) fn new(
        circuit: &CircuitModel<AnyTransformer>,
        activations: &mut ActivationCache,
        answers: &'a Answers,
        rows: &[usize],
    ) -> Self {
        let layers: Vec<String> = circuit.layers().into_iter().map(|layer| layer.name).collect();
        let plan = ProbePlan::all_blocks(circuit.base(), &layers);
        activations.release();
        let examples = &answers.examples;
        let classified = rows.first().map_or(1, |row| sized(examples, *row));
        let batches = batches(examples, rows, circuit.base().head(), classified);
        let keys = batches.iter().map(|rows| answers.batch(rows)).collect();
        Self { examples, plan, activations: RefCell::new(activations.another()), batches, answers: keys }
    }
}

impl Subject<AnyTransformer> for FrozenModel<'_> {
    fn answers(&self) -> &[AnswerBatch] {
        &self.answers
    }

    fn hidden(&self, model: &AnyTransformer, batch: usize) -> Result<Tensor<2>, TrainError> {
        let rows = &self.batches[batch];
        let batch = self.examples.batch(rows, &model.device())?;
        // The plan holds the activations of all tokens.
        let all = ProbeBatch { token_mask: vec![true; batch.token_mask.len()], means: Vec::new(), ..batch.clone() };
        let frozen = self.activations.borrow_mut().frozen_activations(&self.plan, model, rows, &all)?;
        answer_hidden_after(model, &batch, |context| {
            Ok(self.plan.walk_blocks(model, &frozen, &batch.inputs, context, &mut Ignore)?)
        })
    }

    fn scores(&self, model: &AnyTransformer, hidden: Tensor<2>) -> Result<Tensor<2>, TrainError> {
        scores_of_hidden(model, hidden)
    }
}
