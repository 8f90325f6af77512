//! The [`Model`] trait, which transformers and ResNets implement.

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
    /// Returns the `model_type` of the configuration.
    fn model_type(&self) -> &'static str;

    /// Returns the kind of the head.
    fn head(&self) -> Head;

    /// Returns the device of the weights.
    fn device(&self) -> Device;

    /// Returns the layers whose weights can be masked, in the order of a forward pass.
    fn maskable_layers(&self) -> Vec<MaskableLayer>;

    /// Returns the structure of the blocks in terms of layer names.
    ///
    /// [`layer_components`](crate::layer_components) uses it to assign the maskable weights to components.
    fn block_layout(&self) -> BlockLayout;

    /// Returns the distribution from which HF initialises a parameter of a new model.
    ///
    /// `path` is the Burn path of the parameter without enum variants, and `shape` is its shape in Burn.
    fn initial_value(&self, path: &str, shape: &[usize]) -> InitialValue;

    /// Returns the largest dropout probability of the configuration. The forward pass never applies dropout.
    fn dropout(&self) -> f64;

    /// Returns the `problem_type` of the configuration.
    fn problem_type(&self) -> Option<ProblemType>;

    /// Checks that the inputs are valid for the model.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for an input that is missing, not used by the model, out of range, or of
    /// the wrong shape.
    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError>;

    /// Computes the logits of the head, or returns `None` for a base model.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for invalid inputs.
    fn logits(&self, inputs: &ModelInputs) -> Result<Option<Logits>, ModelError>;

    /// Computes the logits and the loss of the head, as HF's `forward(labels=…)` does.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for invalid inputs or labels, and for a base model, which has no loss.
    fn task_output(&self, inputs: &ModelInputs, labels: &Labels) -> Result<TaskOutput, ModelError> {
        let logits = self.logits(inputs)?.ok_or_else(|| ModelError::InvalidInput {
            what: "labels",
            found: "given".into(),
            expected: "a base model has no head, so it has no loss".into(),
        })?;
        let mask = inputs.attention_mask.as_ref();
        let loss = task_loss(self.head(), self.problem_type(), logits.clone(), labels, mask)?;
        Ok(TaskOutput { loss, logits })
    }
}
