//! What circuit probes and subnetwork probes have in common.

use burn::module::{Module, ModuleDisplay, ParamGroup};
use ns_circuit::{CircuitModel, Losses};
use ns_models::Transformer;

use crate::activation_cache::ActivationCache;
use crate::batch::ProbeBatch;
use crate::error::ProbeError;
use crate::frozen_activations::FrozenActivations;
use crate::plan::ProbePlan;

/// A masked model with a loss on its vectors at one site.
///
/// The modes of Burn select the masks: soft masks and a loss with the L0 term after `train()`, hard masks and a loss
/// without the L0 term after `valid()`.
pub trait Probe: Module {
    /// The base model.
    type Base: Transformer + ModuleDisplay;

    /// The masked model.
    fn circuit(&self) -> &CircuitModel<Self::Base>;

    /// The masked model, to change its settings or mask parameters.
    fn circuit_mut(&mut self) -> &mut CircuitModel<Self::Base>;

    /// Which part of the forward pass depends on the masks.
    fn plan(&self) -> &ProbePlan;

    /// Computes the losses of a batch from its frozen activations.
    ///
    /// # Errors
    /// Returns the errors of the probe's `forward_from`.
    fn losses_from(&self, frozen: &FrozenActivations, batch: &ProbeBatch) -> Result<Losses, ProbeError>;

    /// The trained parameters, without the frozen base model. A checkpoint needs only these. By default the mask
    /// parameters.
    fn trained_parameters(&self) -> ParamGroup {
        self.circuit().mask_parameters()
    }

    /// Computes the frozen activations of a batch: the part of the forward pass that no mask changes.
    ///
    /// # Errors
    /// Returns [`ProbeError::Circuit`] if an ablation is set in training mode, [`ProbeError::Batch`] for an invalid
    /// token mask, and [`ProbeError::Model`] for invalid model inputs.
    fn frozen_activations(&self, batch: &ProbeBatch) -> Result<FrozenActivations, ProbeError> {
        self.plan().frozen_activations(&self.circuit().model()?, batch)
    }

    /// Like [`Self::frozen_activations`], but looks the activations up in `cache` and computes only what is missing.
    ///
    /// `examples` holds one index per sequence of the batch, see [`ActivationCache::frozen_activations`].
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] unless there is one example per sequence, and the errors of
    /// [`Self::frozen_activations`].
    fn cached_activations(
        &self,
        cache: &mut ActivationCache,
        examples: &[usize],
        batch: &ProbeBatch,
    ) -> Result<FrozenActivations, ProbeError> {
        cache.frozen_activations(self.plan(), &self.circuit().model()?, examples, batch)
    }
}
