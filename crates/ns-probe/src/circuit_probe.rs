//! The circuit probe (Lepori et al. 2024).

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use ns_circuit::{CircuitModel, Losses};
use ns_models::{Site, Transformer};

use crate::batch::{CIRCUIT_LABEL_PADDING, ProbeBatch};
use crate::config::{CircuitProbeConfig, ProbeLoss, check_probe};
use crate::contrastive::contrastive_loss;
use crate::error::ProbeError;
use crate::frozen_activations::FrozenActivations;
use crate::plan::ProbePlan;
use crate::probe::Probe;
use crate::targets::mask_targets;

/// A masked model whose masks are trained so that its vectors at one site cluster by label.
///
/// The modes of Burn select the masks: soft masks and a loss with the L0 term after `train()`, hard masks and a loss
/// without the L0 term after `valid()`.
#[derive(Module, Debug)]
pub struct CircuitProbe<M: Module + ModuleDisplay> {
    circuit: CircuitModel<M>,
    #[module(skip)]
    site: Site,
    #[module(skip)]
    plan: ProbePlan,
    #[module(skip)]
    loss: ProbeLoss,
}

/// Output of a circuit probe for one batch.
#[derive(Clone, Debug)]
pub struct CircuitProbeOutput {
    /// Vectors of the selected tokens at the probed site, `[selected, hidden]`.
    pub vectors: Tensor<2>,
    /// The loss, with and without the L0 term.
    pub losses: Losses,
}

impl<M: Transformer + ModuleDisplay> CircuitProbe<M> {
    /// Freezes `model` and adds the masks to it.
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] if `freeze_base` is false or the selection of sites is invalid,
    /// [`ProbeError::Model`] if the model lacks the site, [`ProbeError::Circuit`] if the masks cannot be built, and
    /// [`ProbeError::UnreachableSite`] for a masked layer that does not affect the vectors at the site.
    pub fn new(config: CircuitProbeConfig, model: M) -> Result<Self, ProbeError> {
        let site = check_probe(&config.probe_vectors, &config.circuit_config, &config.resid_config, &model)?;
        let targets = mask_targets(&model);
        let circuit = CircuitModel::new(config.circuit_config, model, &targets)?;
        let plan = ProbePlan::for_circuit(&circuit, site)?;
        Ok(Self { circuit, site, plan, loss: config.loss })
    }

    /// The probed site.
    pub fn site(&self) -> Site {
        self.site
    }

    /// Computes the vectors of the selected tokens at the probed site in the masked model, `[selected, hidden]`.
    ///
    /// # Errors
    /// Returns [`ProbeError::Circuit`] if an ablation is set in training mode, [`ProbeError::Batch`] for an invalid
    /// token mask, and [`ProbeError::Model`] for invalid model inputs.
    pub fn vectors(&self, batch: &ProbeBatch) -> Result<Tensor<2>, ProbeError> {
        self.vectors_from(&self.frozen_activations(batch)?, batch)
    }

    /// Like [`Self::vectors`], but continues from the frozen activations of the batch.
    ///
    /// # Errors
    /// Returns the errors of [`Self::vectors`].
    pub fn vectors_from(&self, frozen: &FrozenActivations, batch: &ProbeBatch) -> Result<Tensor<2>, ProbeError> {
        self.plan.vectors(&self.circuit.model()?, frozen, batch)
    }

    /// Computes the vectors of the selected tokens at the probed site in the unmasked model, without gradients,
    /// `[selected, hidden]`.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] for an invalid token mask, and [`ProbeError::Model`] for invalid model inputs.
    pub fn unmasked_vectors(&self, batch: &ProbeBatch) -> Result<Tensor<2>, ProbeError> {
        let model = self.circuit.base().valid();
        self.plan.vectors(&model, &self.plan.frozen_activations(&model, batch)?, batch)
    }

    /// Like [`Self::unmasked_vectors`], but continues from the frozen activations of the batch.
    ///
    /// # Errors
    /// Returns the errors of [`Self::unmasked_vectors`].
    pub fn unmasked_vectors_from(
        &self,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<Tensor<2>, ProbeError> {
        self.plan.vectors(&self.circuit.base().valid(), &frozen.without_autodiff(), batch)
    }

    /// Computes the vectors of the selected tokens and the loss.
    ///
    /// # Errors
    /// Returns [`ProbeError::LabelCount`] unless each selected token has a label, [`ProbeError::Batch`] if no token is
    /// selected, and the errors of [`Self::vectors`].
    pub fn forward(&self, batch: &ProbeBatch) -> Result<CircuitProbeOutput, ProbeError> {
        batch.selected_labels(CIRCUIT_LABEL_PADDING)?;
        self.forward_from(&self.frozen_activations(batch)?, batch)
    }

    /// Like [`Self::forward`], but continues from the frozen activations of the batch.
    ///
    /// # Errors
    /// Returns the errors of [`Self::forward`].
    pub fn forward_from(
        &self,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<CircuitProbeOutput, ProbeError> {
        let labels = batch.selected_labels(CIRCUIT_LABEL_PADDING)?;
        let vectors = self.vectors_from(frozen, batch)?;
        let others = match self.loss {
            ProbeLoss::Contrastive => vectors.clone(),
            ProbeLoss::Linear => self.unmasked_vectors_from(frozen, batch)?,
        };
        let losses = self.circuit.with_l0(contrastive_loss(vectors.clone(), others, &labels)?);
        Ok(CircuitProbeOutput { vectors, losses })
    }
}

impl<M: Transformer + ModuleDisplay> Probe for CircuitProbe<M> {
    type Base = M;

    fn circuit(&self) -> &CircuitModel<M> {
        &self.circuit
    }

    fn circuit_mut(&mut self) -> &mut CircuitModel<M> {
        &mut self.circuit
    }

    fn plan(&self) -> &ProbePlan {
        &self.plan
    }

    fn losses_from(&self, frozen: &FrozenActivations, batch: &ProbeBatch) -> Result<Losses, ProbeError> {
        Ok(self.forward_from(frozen, batch)?.losses)
    }
}

#[cfg(test)]
mod tests;
