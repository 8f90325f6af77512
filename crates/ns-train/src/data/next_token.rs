//! Logits of the next token, where a task asks for one.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ns_models::{Context, Ignore, ModelError, ModelInputs, Transformer, Walk};

use crate::error::TrainError;

/// Scores after the last token, `[batch, vocab]`. No other position of the last block is computed.
pub(crate) fn last_logits<M: Transformer>(model: &M, inputs: &ModelInputs) -> Result<Tensor<2>, TrainError> {
    model.check_inputs(inputs)?;
    last_logits_after(model, inputs, |context| Ok(model.blocks_from(0, model.embed(inputs)?, context, &mut Ignore)))
}

/// The same where something else walks through the blocks.
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
        expected: "the task asks for the next token".into(),
    })?;
    let [_, _, vocab] = logits.dims();
    Ok(logits.reshape([batch, vocab]))
}
