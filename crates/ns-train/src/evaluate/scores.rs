//! The scores that a model gives to the possible answers: logits of its classes, or of the next token.

use std::ops::ControlFlow;

use burn::module::ModuleDisplay;
use burn::tensor::Tensor;
use ns_models::{
    AnyModel, AnyTransformer, Context, Flow, Head, Hook, Ignore, Logits, Model, ModelError, Site, Transformer,
};
use ns_probe::ProbeBatch;

use crate::error::TrainError;

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

/// Computes the logits of the answers: those of a classification head, or those of a language model at the selected
/// tokens. The linear layers in the blocks call `hook`.
///
/// # Shapes
/// - output: `[labels, classes]`, or `[labels, vocab]` for a language model
///
/// # Errors
/// Returns the errors of [`label_scores`], and [`TrainError::Model`] for inputs that do not fit the model.
pub(crate) fn answer_scores<M: Answering>(model: &M, batch: &ProbeBatch, hook: Hook) -> Result<Tensor<2>, TrainError> {
    scores_of_hidden(model, answer_hidden(model, batch, hook)?)
}

/// The transformer of a language model.
fn language_model<M: Answering>(model: &M) -> Option<&AnyTransformer> {
    model.transformer().filter(|_| model.head().is_language_model())
}

/// What the head of a model reads for the answers: for a language model the vectors of the selected tokens, otherwise
/// the logits themselves. [`scores_of_hidden`] makes the logits.
///
/// # Shapes
/// - output: `[labels, hidden]` for a language model, otherwise `[labels, classes]`
///
/// # Errors
/// Returns the errors of [`answer_scores`].
pub(crate) fn answer_hidden<M: Answering>(model: &M, batch: &ProbeBatch, hook: Hook) -> Result<Tensor<2>, TrainError> {
    if let Some(model) = language_model(model) {
        let inputs = &batch.inputs;
        model.check_inputs(inputs)?;
        return selected_hidden_after(model, batch, model.context(inputs)?.with_hook(hook), |context| {
            Ok(model.walk_blocks(Site::Embeddings, model.embed(inputs)?, context, &mut Ignore)?)
        });
    }
    label_scores(model, model.logits_with(&batch.inputs, hook)?, batch)
}

/// The logits of the answers, from the result of [`answer_hidden`].
///
/// # Shapes
/// - output: `[labels, vocab]` for a language model, otherwise `hidden`
///
/// # Errors
/// Returns [`TrainError::Setting`] if the model has no language-model head.
pub(crate) fn scores_of_hidden<M: Answering>(model: &M, hidden: Tensor<2>) -> Result<Tensor<2>, TrainError> {
    let Some(model) = language_model(model) else { return Ok(hidden) };
    let (found, expected) =
        ("a model without a language-model head", "the task needs one, because its answer is a token");
    let logits = model.token_logits(hidden.unsqueeze_dim(0));
    Ok(logits.ok_or_else(|| TrainError::setting("model", found, expected))?.squeeze_dim(0))
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

/// Like [`answer_hidden`], but `blocks` runs the blocks of the model, for example from cached activations.
///
/// The context that `blocks` receives has the hook, and narrows the last block to the selected tokens if only these are
/// read.
///
/// # Errors
/// Returns the errors of `blocks` and of [`answer_hidden`], and [`ModelError::StoppedEarly`] if an observer stops the
/// forward pass.
pub(crate) fn answer_hidden_after<M: Transformer>(
    model: &M,
    batch: &ProbeBatch,
    hook: Hook,
    blocks: impl FnOnce(&Context) -> Result<Flow, TrainError>,
) -> Result<Tensor<2>, TrainError> {
    let context = model.context(&batch.inputs)?.with_hook(hook);
    if model.head().is_language_model() {
        return selected_hidden_after(model, batch, context, blocks);
    }
    let last_hidden_state = model.finish(finished(blocks(&context)?)?);
    label_scores(model, model.apply_head(last_hidden_state, &batch.inputs)?.logits, batch)
}

/// Like [`answer_hidden_after`], but all blocks are computed at all positions, for observers and hooks that count them.
///
/// # Errors
/// Returns the errors of [`answer_hidden_after`].
pub(crate) fn answer_hidden_of_whole_blocks<M: Transformer>(
    model: &M,
    batch: &ProbeBatch,
    blocks: impl FnOnce(&Context) -> Result<Flow, TrainError>,
) -> Result<Tensor<2>, TrainError> {
    let hidden = finished(blocks(&model.context(&batch.inputs)?)?)?;
    if model.head().is_language_model() {
        return Ok(model.finish(batch.select_tokens(hidden)?.unsqueeze_dim(0)).squeeze_dim(0));
    }
    label_scores(model, model.apply_head(model.finish(hidden), &batch.inputs)?.logits, batch)
}

/// The vectors of the selected tokens that a language-model head reads, `[selected, hidden]`. The last block computes
/// only these.
fn selected_hidden_after<M: Transformer>(
    model: &M,
    batch: &ProbeBatch,
    context: Context,
    blocks: impl FnOnce(&Context) -> Result<Flow, TrainError>,
) -> Result<Tensor<2>, TrainError> {
    let hidden = match batch.narrowed_positions(context.dims, &model.device())? {
        Some(positions) => batch.selected(finished(blocks(&context.only(model.n_layers() - 1, positions))?)?),
        None => batch.select_tokens(finished(blocks(&context)?)?)?,
    };
    Ok(model.finish(hidden.unsqueeze_dim(0)).squeeze_dim(0))
}

/// The hidden state after the last block.
pub(super) fn finished(flow: Flow) -> Result<Tensor<3>, TrainError> {
    match flow {
        ControlFlow::Continue(hidden) => Ok(hidden),
        ControlFlow::Break(at) => Err(ModelError::StoppedEarly { at }.into()),
    }
}
