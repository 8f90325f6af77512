//! Logits of the next token, for tasks whose answer is one token.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ns_models::{Context, Ignore, ModelError, ModelInputs, Products, Transformer, Walk};

use crate::error::TrainError;

/// Computes the logits after the last token of each sequence, `[batch, vocab]`. The last block computes only this
/// position.
///
/// # Errors
/// Returns [`TrainError::Model`] for inputs that do not fit the model, and [`TrainError::Setting`] if the model has no
/// language-model head.
pub(crate) fn last_logits<M: Transformer>(model: &M, inputs: &ModelInputs) -> Result<Tensor<2>, TrainError> {
    last_logits_with(model, inputs, None)
}

/// Like [`last_logits`], but the linear layers in the blocks first ask `products` for their matrix products.
///
/// # Errors
/// Returns the errors of [`last_logits`].
pub(crate) fn last_logits_with<M: Transformer>(
    model: &M,
    inputs: &ModelInputs,
    products: Products,
) -> Result<Tensor<2>, TrainError> {
    model.check_inputs(inputs)?;
    last_logits_after(model, inputs, |context| {
        let context = context.clone().with_products(products);
        Ok(model.blocks_from(0, model.embed(inputs)?, &context, &mut Ignore))
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
    inputs: &ModelInputs,
    blocks: impl FnOnce(&Context) -> Result<Walk, TrainError>,
) -> Result<Tensor<2>, TrainError> {
    let [batch, seq] = model.stream_dims(inputs)?;
    let context = model.context(inputs)?.only(model.n_layers() - 1, seq - 1..seq);
    let hidden = match blocks(&context)? {
        ControlFlow::Continue(hidden) => hidden,
        ControlFlow::Break(at) => return Err(ModelError::StoppedEarly { at }.into()),
    };
    let logits = model.token_logits(model.finish(hidden));
    let logits = logits.ok_or_else(|| TrainError::Setting {
        setting: "model.architectures",
        found: "a model without a language-model head".into(),
        expected: "the task needs one, because its answer is the next token".into(),
    })?;
    let [_, _, vocab] = logits.dims();
    Ok(logits.reshape([batch, vocab]))
}
