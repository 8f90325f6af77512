//! The scores that a model gives to the possible answers: logits of its classes, or of the next token.

use std::ops::ControlFlow;

use burn::module::ModuleDisplay;
use burn::tensor::Tensor;
use ns_models::{
    AnyModel, AnyTransformer, Context, Flow, Head, Ignore, Logits, Model, ModelError, ModelInputs, Products, Site,
    Transformer,
};
use ns_probe::ProbeBatch;

use crate::data::Dataset;
use crate::error::TrainError;

/// Examples per forward pass of [`scores_of`].
const EVALUATION_BATCH: usize = 128;

/// A model whose head may predict answers.
pub(crate) trait Answering: Model + ModuleDisplay {
    /// The transformer in it, if it is one.
    fn transformer(&self) -> Option<&AnyTransformer>;
}

impl Answering for AnyModel {
    fn transformer(&self) -> Option<&AnyTransformer> {
        match self {
            Self::Transformer(model) => Some(model),
            Self::ResNet(_) => None,
        }
    }
}

impl Answering for AnyTransformer {
    fn transformer(&self) -> Option<&AnyTransformer> {
        Some(self)
    }
}

/// Runs a model without autodiff on some rows of the data.
///
/// # Shapes
/// - output: `[labels, answers]`
///
/// # Errors
/// Returns errors of the data set and of [`answer_scores`].
pub(crate) fn scores_of<M: Answering>(data: &dyn Dataset, rows: &[usize], model: &M) -> Result<Tensor<2>, TrainError> {
    let scores = |rows| answer_scores(model, &data.batch(rows, &model.device())?, None);
    Ok(Tensor::cat(rows.chunks(EVALUATION_BATCH).map(scores).collect::<Result<_, _>>()?, 0))
}

/// Computes the logits of the answers: those of a classification head, or those of a language model after the last
/// token. The linear layers in the blocks first ask `products` for their matrix products.
///
/// # Shapes
/// - output: `[labels, classes]`, or `[batch, vocab]` for a language model
///
/// # Errors
/// Returns the errors of [`label_scores`], and [`TrainError::Model`] for inputs that do not fit the model.
pub(crate) fn answer_scores<M: Answering>(
    model: &M,
    batch: &ProbeBatch,
    products: Products,
) -> Result<Tensor<2>, TrainError> {
    if let (Head::Lm, Some(model)) = (model.head(), model.transformer()) {
        return last_logits(model, &batch.inputs, products);
    }
    label_scores(model, model.logits_with(&batch.inputs, products)?, batch)
}

/// The logits for each label of a batch: those of its sequences, or of the tokens that it selects.
///
/// # Shapes
/// - output: `[labels, classes]`
///
/// # Errors
/// Returns [`TrainError::Setting`] for a model with another head, and [`TrainError::Probe`] if the token mask does not
/// fit the logits.
pub(crate) fn label_scores<M: Model>(
    model: &M,
    logits: Option<Logits>,
    batch: &ProbeBatch,
) -> Result<Tensor<2>, TrainError> {
    match (logits, model.head()) {
        (Some(Logits::Sequences(scores)), _) => Ok(scores),
        (Some(Logits::Tokens(scores)), Head::TokenClassification) => Ok(batch.select_tokens(scores)?),
        (_, head) => Err(TrainError::setting(
            "model",
            format!("a {} with the head `{}`", model.model_type(), head.name()),
            "the answers need a classification head or, for arithmetic, a language-model head; `head` adds a new one",
        )),
    }
}

/// Computes the logits after the last token of each sequence, `[batch, vocab]`. The last block computes only this
/// position. The linear layers in the blocks first ask `products` for their matrix products.
///
/// # Errors
/// Returns [`TrainError::Model`] for inputs that do not fit the model, and [`TrainError::Setting`] if the model has no
/// language-model head.
fn last_logits<M: Transformer>(model: &M, inputs: &ModelInputs, products: Products) -> Result<Tensor<2>, TrainError> {
    model.check_inputs(inputs)?;
    last_logits_after(model, model.context(inputs)?.with_products(products), |context| {
        Ok(model.walk_blocks(Site::Embeddings, model.embed(inputs)?, context, &mut Ignore)?)
    })
}

/// Like [`answer_scores`], but `blocks` runs the blocks of the model, for example from cached activations.
///
/// The context that `blocks` receives narrows the last block to the last position if no other is read.
///
/// # Errors
/// Returns the errors of `blocks` and of [`answer_scores`], and [`ModelError::StoppedEarly`] if an observer stops the
/// forward pass.
pub(crate) fn answer_scores_after<M: Transformer>(
    model: &M,
    batch: &ProbeBatch,
    blocks: impl FnOnce(&Context) -> Result<Flow, TrainError>,
) -> Result<Tensor<2>, TrainError> {
    let context = model.context(&batch.inputs)?;
    if model.head() == Head::Lm {
        return last_logits_after(model, context, blocks);
    }
    let last_hidden_state = model.finish(finished(blocks(&context)?)?);
    label_scores(model, model.apply_head(last_hidden_state, &batch.inputs)?.logits, batch)
}

fn last_logits_after<M: Transformer>(
    model: &M,
    context: Context,
    blocks: impl FnOnce(&Context) -> Result<Flow, TrainError>,
) -> Result<Tensor<2>, TrainError> {
    let [batch, seq] = context.dims;
    let hidden = finished(blocks(&context.only(model.n_layers() - 1, seq - 1..seq))?)?;
    let (found, expected) =
        ("a model without a language-model head", "the task needs one, because its answer is the next token");
    let logits = model.token_logits(model.finish(hidden));
    let logits = logits.ok_or_else(|| TrainError::setting("model", found, expected))?;
    let [_, _, vocab] = logits.dims();
    Ok(logits.reshape([batch, vocab]))
}

/// The hidden state after the last block.
fn finished(flow: Flow) -> Result<Tensor<3>, TrainError> {
    match flow {
        ControlFlow::Continue(hidden) => Ok(hidden),
        ControlFlow::Break(at) => Err(ModelError::StoppedEarly { at }.into()),
    }
}
