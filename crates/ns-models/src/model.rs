//! What every model can do, transformer or not.

use burn::module::Module;
use burn::tensor::Device;

use crate::block_layout::BlockLayout;
use crate::config::{Head, InitialValue, ProblemType};
use crate::error::ModelError;
use crate::inputs::{Logits, ModelInputs};
use crate::layers::MaskableLayer;
use crate::loss::{Labels, TaskOutput, task_loss};

/// A model with a head, as a Burn module.
pub trait Model: Module {
    /// `model_type` of the config.
    fn model_type(&self) -> &'static str;

    /// What sits on the base model.
    fn head(&self) -> Head;

    /// Device of the weights.
    fn device(&self) -> Device;

    /// Layers with a weight that can be masked, in the order of a forward pass.
    fn maskable_layers(&self) -> Vec<MaskableLayer>;

    /// Where its blocks and their heads lie in these layers; [`layer_components`](crate::layer_components) reads it.
    fn block_layout(&self) -> BlockLayout;

    /// How HF draws the parameter at a Burn path (without enum variants), of this shape in Burn, in a fresh model.
    fn initial_value(&self, path: &str, shape: &[usize]) -> InitialValue;

    /// The largest dropout probability of the configuration. The forward pass here has none.
    fn dropout(&self) -> f64;

    /// `problem_type` of the config.
    fn problem_type(&self) -> Option<ProblemType>;

    /// Checks the inputs against the model.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`].
    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError>;

    /// Scores of the head, none for a base model.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`].
    fn logits(&self, inputs: &ModelInputs) -> Result<Option<Logits>, ModelError>;

    /// The loss of the model's own task, as HF's `forward(labels=…)` computes it, with the scores.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`]; also for a base model, which has no task.
    fn task_output(&self, inputs: &ModelInputs, labels: &Labels) -> Result<TaskOutput, ModelError> {
        let logits = self.logits(inputs)?.ok_or_else(|| ModelError::InvalidInput {
            what: "labels",
            found: "given".into(),
            expected: "a base model has no head, and so no task".into(),
        })?;
        let mask = inputs.attention_mask.as_ref();
        let loss = task_loss(self.head(), self.problem_type(), logits.clone(), labels, mask)?;
        Ok(TaskOutput { loss, logits })
    }
}
