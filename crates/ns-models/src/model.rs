//! The [`Model`] trait, which transformers and ResNets implement.

use burn::module::Module;
use burn::tensor::Device;

use crate::block_layout::BlockLayout;
use crate::checkpoint::HfNames;
use crate::config::{Head, InitialValue, ProblemType};
use crate::error::ModelError;
use crate::inputs::{Logits, ModelInputs};
use crate::layers::MaskableLayer;
use crate::linear_hook::Hook;
use crate::loss::{Labels, TaskOutput, task_loss};

/// What distinguishes a model from others, as data.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// `model_type` of the configuration.
    pub model_type: &'static str,
    /// Kind of the head.
    pub head: Head,
    /// `problem_type` of the configuration.
    pub problem_type: Option<ProblemType>,
    /// Largest dropout probability of the configuration. The forward pass never applies dropout.
    pub dropout: f64,
    /// Structure of the blocks in terms of layer names.
    pub blocks: BlockLayout,
}

/// A model with a head, as a Burn module.
pub trait Model: Module {
    /// Returns what distinguishes this model from others.
    fn architecture(&self) -> Architecture;

    /// Returns the names of the parameters in the checkpoint.
    fn hf_names(&self) -> HfNames;

    /// Returns the device of the weights.
    fn device(&self) -> Device;

    /// Returns the distribution from which HF initialises a parameter of a new model.
    ///
    /// `path` is the Burn path of the parameter without enum variants, and `shape` is its shape in Burn.
    fn initial_value(&self, path: &str, shape: &[usize]) -> InitialValue;

    /// Checks that the inputs are valid for the model.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for an input that is missing, not used by the model, out of range, or of
    /// the wrong shape.
    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError>;

    /// Computes the logits of the head, or returns `None` for a base model. The linear layers in the blocks of a
    /// transformer call `hook`. A ResNet ignores it.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for invalid inputs.
    fn logits_with(&self, inputs: &ModelInputs, hook: Hook) -> Result<Option<Logits>, ModelError>;

    /// Computes the logits of the head, or returns `None` for a base model.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for invalid inputs.
    fn logits(&self, inputs: &ModelInputs) -> Result<Option<Logits>, ModelError> {
        self.logits_with(inputs, None)
    }

    /// Computes the logits and the loss of the head, as HF's `forward(labels=…)` does.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for invalid inputs or labels, and for a base model, which has no loss.
    fn task_output(&self, inputs: &ModelInputs, labels: &Labels) -> Result<TaskOutput, ModelError> {
        self.task_loss(inputs, self.logits(inputs)?, labels)
    }

    /// Computes the loss of the head from its logits on `inputs`.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for invalid labels, and without logits, because a base model has no loss.
    fn task_loss(
        &self,
        inputs: &ModelInputs,
        logits: Option<Logits>,
        labels: &Labels,
    ) -> Result<TaskOutput, ModelError> {
        let logits = logits.ok_or_else(|| ModelError::InvalidInput {
            what: "labels",
            found: "given".into(),
            expected: "a base model has no head, so it has no loss".into(),
        })?;
        let Architecture { head, problem_type, .. } = self.architecture();
        let loss = task_loss(head, problem_type, logits.clone(), labels, inputs.attention_mask.as_ref())?;
        Ok(TaskOutput { loss, logits })
    }

    /// Returns the layers whose weights can be masked, in the order of a forward pass.
    fn maskable_layers(&self) -> Vec<MaskableLayer> {
        self.hf_names().maskable_layers(self)
    }

    /// Returns the `model_type` of the configuration.
    fn model_type(&self) -> &'static str {
        self.architecture().model_type
    }

    /// Returns the kind of the head.
    fn head(&self) -> Head {
        self.architecture().head
    }

    /// Returns the largest dropout probability of the configuration. The forward pass never applies dropout.
    fn dropout(&self) -> f64 {
        self.architecture().dropout
    }
}
