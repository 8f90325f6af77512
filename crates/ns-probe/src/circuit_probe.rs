//! The circuit probe (Lepori et al. 2024).

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use ns_circuit::{CircuitError, CircuitModel};
use ns_models::{Site, Transformer};

use crate::activation_cache::ActivationCache;
use crate::batch::{CIRCUIT_LABEL_PADDING, ProbeBatch};
use crate::config::{CircuitProbeConfig, ProbeLoss, check_probe};
use crate::contrastive::contrastive_loss;
use crate::error::ProbeError;
use crate::frozen_activations::FrozenActivations;
use crate::plan::ProbePlan;
use crate::targets::mask_targets;

/// A circuit trained so that its vectors at one site cluster by label.
///
/// Its Burn modes are the circuit's: soft masks and the L0 term after `train()`, hard masks and no L0 term after
/// `valid()`.
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

/// What a circuit probe makes of a batch.
#[derive(Clone, Debug)]
pub struct CircuitProbeOutput {
    /// The selected vectors at the probed site, `[selected, hidden]`.
    pub vectors: Tensor<2>,
    /// The loss, with `l0_lambda · L0` in training, `[1]`.
    pub loss: Tensor<1>,
    /// The loss without that term, `[1]`.
    pub loss_without_l0: Tensor<1>,
}

impl<M: Transformer + ModuleDisplay> CircuitProbe<M> {
    /// Puts the masks on `model` and freezes it.
    ///
    /// # Errors
    /// [`ProbeError::Config`] unless the base is frozen activations and exactly one site is read; errors of the masks.
    pub fn new(config: CircuitProbeConfig, model: M) -> Result<Self, ProbeError> {
        let site = check_probe(&config.probe_vectors, &config.circuit_config, &config.resid_config, &model)?;
        let targets = mask_targets(&model);
        let base = model.clone();
        let circuit = CircuitModel::new(config.circuit_config, model, &targets)?;
        let plan = ProbePlan::for_circuit(&circuit, &base, site);
        Ok(Self { circuit, site, plan, loss: config.loss })
    }

    /// The circuit: masks, temperature, ablations, L0.
    pub fn circuit(&self) -> &CircuitModel<M> {
        &self.circuit
    }

    /// The same probe with another circuit, e.g. one with loaded masks.
    ///
    /// # Errors
    /// Whatever `change` gives.
    pub fn try_with_circuit(
        self,
        change: impl FnOnce(CircuitModel<M>) -> Result<CircuitModel<M>, CircuitError>,
    ) -> Result<Self, ProbeError> {
        Ok(Self { circuit: change(self.circuit)?, ..self })
    }

    /// Site that is probed.
    pub fn site(&self) -> Site {
        self.site
    }

    /// From where on masks change the vectors.
    pub fn plan(&self) -> &ProbePlan {
        &self.plan
    }

    /// What no mask changes of the way to the vectors of a batch.
    ///
    /// # Errors
    /// Those of the circuit and of the model's inputs.
    pub fn frozen_activations(&self, batch: &ProbeBatch) -> Result<FrozenActivations, ProbeError> {
        self.plan.frozen_activations(self.circuit.model()?, batch)
    }

    /// The same for a batch of these examples, from a cache as far as it goes.
    ///
    /// # Errors
    /// Those of the cache, of the circuit and of the model's inputs.
    pub fn cached_activations(
        &self,
        cache: &mut ActivationCache,
        examples: &[usize],
        batch: &ProbeBatch,
    ) -> Result<FrozenActivations, ProbeError> {
        cache.frozen_activations(&self.plan, self.circuit.model()?, examples, batch)
    }

    /// The selected vectors of the masked model, `[selected, hidden]`.
    ///
    /// # Errors
    /// Those of the circuit and of the model's inputs.
    pub fn vectors(&self, batch: &ProbeBatch) -> Result<Tensor<2>, ProbeError> {
        self.vectors_from(&self.frozen_activations(batch)?, batch)
    }

    /// The same from the frozen activations of the batch.
    ///
    /// # Errors
    /// As [`vectors`](Self::vectors).
    pub fn vectors_from(&self, frozen: &FrozenActivations, batch: &ProbeBatch) -> Result<Tensor<2>, ProbeError> {
        self.plan.vectors(self.circuit.model()?, frozen, batch)
    }

    /// The selected vectors of the model as it was, without gradients, `[selected, hidden]`.
    ///
    /// # Errors
    /// Those of the model's inputs.
    pub fn unmasked_vectors(&self, batch: &ProbeBatch) -> Result<Tensor<2>, ProbeError> {
        let model = self.circuit.unmasked();
        self.plan.vectors(&model, &self.plan.frozen_activations(&model, batch)?, batch)
    }

    /// The same from the frozen activations of the batch.
    ///
    /// # Errors
    /// Those of the model's inputs.
    pub fn unmasked_vectors_from(
        &self,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<Tensor<2>, ProbeError> {
        self.plan.vectors(&self.circuit.unmasked(), &frozen.without_autodiff(), batch)
    }

    /// Vectors and loss.
    ///
    /// # Errors
    /// [`ProbeError::LabelCount`], [`ProbeError::Batch`], and those of the circuit and of the model's inputs.
    pub fn forward(&self, batch: &ProbeBatch) -> Result<CircuitProbeOutput, ProbeError> {
        batch.selected_labels(CIRCUIT_LABEL_PADDING)?;
        self.forward_from(&self.frozen_activations(batch)?, batch)
    }

    /// The same from the frozen activations of the batch.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
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
        let loss_without_l0 = contrastive_loss(vectors.clone(), others, &labels)?;
        let loss = match self.circuit.l0_loss() {
            Some(l0) => loss_without_l0.clone() + l0,
            None => loss_without_l0.clone(),
        };
        Ok(CircuitProbeOutput { vectors, loss, loss_without_l0 })
    }
}

#[cfg(test)]
mod tests;
