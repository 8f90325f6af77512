//! The scores that a model gives to the possible answers: logits of its classes, or of the next token.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ns_models::{
    AnyModel, Context, Flow, Head, Ignore, Logits, Model, ModelError, ModelInputs, Products, Site, Transformer,
};

use crate::data::Dataset;
use crate::error::TrainError;

/// Examples per forward pass of [`scores_of`].
const EVALUATION_BATCH: usize = 128;

/// Runs a model without autodiff on some rows of the data.
///
/// # Shapes
/// - output: `[rows, answers]`
///
/// # Errors
/// Returns errors of the data set and of [`answer_scores`].
pub(crate) fn scores_of(data: &dyn Dataset, rows: &[usize], model: &AnyModel) -> Result<Tensor<2>, TrainError> {
    let scores = |rows| answer_scores(model, &data.batch(rows, &model.device())?.inputs, None);
    Ok(Tensor::cat(rows.chunks(EVALUATION_BATCH).map(scores).collect::<Result<_, _>>()?, 0))
}

/// Computes the logits of the answers: those of a classification head, or those of a language model after the last
/// token. The linear layers in the blocks first ask `products` for their matrix products.
///
/// # Shapes
/// - output: `[batch, classes]` or `[batch, vocab]`
///
/// # Errors
/// Returns [`TrainError::Setting`] for a model with another head, and [`TrainError::Model`] for inputs that do not fit
/// the model.
pub(crate) fn answer_scores(
    model: &AnyModel,
    inputs: &ModelInputs,
    products: Products,
) -> Result<Tensor<2>, TrainError> {
    if let (Head::Lm, AnyModel::Transformer(model)) = (model.head(), model) {
        return last_logits(model, inputs, products);
    }
    match model.logits_with(inputs, products)? {
        Some(Logits::Sequences(scores)) => Ok(scores),
        _ => Err(TrainError::setting(
            "model.architectures",
            format!("a {} with the head `{}`", model.model_type(), model.head().name()),
            "the data needs a classification head or a language-model head",
        )),
    }
}

/// Computes the logits after the last token of each sequence, `[batch, vocab]`. The last block computes only this
/// position. The linear layers in the blocks first ask `products` for their matrix products.
///
/// # Errors
/// Returns [`TrainError::Model`] for inputs that do not fit the model, and [`TrainError::Setting`] if the model has no
/// language-model head.
pub(crate) fn last_logits<M: Transformer>(
    model: &M,
    inputs: &ModelInputs,
    products: Products,
) -> Result<Tensor<2>, TrainError> {
    model.check_inputs(inputs)?;
    last_logits_after(model, model.context(inputs)?.with_products(products), |context| {
        Ok(model.walk_blocks(Site::Embeddings, model.embed(inputs)?, context, &mut Ignore)?)
    })
}

/// Like [`last_logits`], but `blocks` runs the blocks of the model, for example from cached activations.
///
/// The context that `blocks` receives narrows the last block to the last position.
///
/// # Errors
/// Returns the errors of `blocks` and of [`last_logits`], and [`ModelError::StoppedEarly`] if an observer stops the
/// forward pass.
pub(crate) fn last_logits_after<M: Transformer>(
    model: &M,
    context: Context,
    blocks: impl FnOnce(&Context) -> Result<Flow, TrainError>,
) -> Result<Tensor<2>, TrainError> {
    let [batch, seq] = context.dims;
    let hidden = match blocks(&context.only(model.n_layers() - 1, seq - 1..seq))? {
        ControlFlow::Continue(hidden) => hidden,
        ControlFlow::Break(at) => return Err(ModelError::StoppedEarly { at }.into()),
    };
    let (found, expected) =
        ("a model without a language-model head", "the task needs one, because its answer is the next token");
    let logits = model.token_logits(model.finish(hidden));
    let logits = logits.ok_or_else(|| TrainError::setting("model.architectures", found, expected))?;
    let [_, _, vocab] = logits.dims();
    Ok(logits.reshape([batch, vocab]))
}
