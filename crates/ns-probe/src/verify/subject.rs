//! What golden cases need from circuit probes and subnetwork probes.

use burn::module::ModuleDisplay;
use burn::tensor::{Gradients, Tensor};
use ns_circuit::Losses;
use ns_models::Transformer;

use super::Tensors;
use crate::batch::ProbeBatch;
use crate::circuit_probe::{CircuitProbe, CircuitProbeOutput};
use crate::error::ProbeError;
use crate::probe::Probe;
use crate::subnetwork_probe::{SubnetworkProbe, SubnetworkProbeOutput};

/// Output of a forward pass.
pub(super) struct Forward {
    pub(super) vectors: Tensor<2>,
    pub(super) losses: Losses,
    pub(super) logits: Option<Tensor<2>>,
}

/// A probe under test.
pub(super) trait Subject: Probe {
    fn forward(&self, batch: &ProbeBatch) -> Result<Forward, ProbeError>;
    fn load(&mut self, params: Tensors) -> Result<(), ProbeError>;

    fn params(&self) -> Tensors {
        self.circuit().mask_params()
    }

    fn gradients(&self, gradients: &Gradients) -> Tensors {
        self.circuit().mask_gradients(gradients)
    }
}

impl<M: Transformer + ModuleDisplay> Subject for CircuitProbe<M> {
    fn forward(&self, batch: &ProbeBatch) -> Result<Forward, ProbeError> {
        let CircuitProbeOutput { vectors, losses } = CircuitProbe::forward(self, batch)?;
        Ok(Forward { vectors, losses, logits: None })
    }

    fn load(&mut self, params: Tensors) -> Result<(), ProbeError> {
        Ok(self.circuit_mut().load_mask_params(&params)?)
    }
}

impl<M: Transformer + ModuleDisplay> Subject for SubnetworkProbe<M> {
    fn forward(&self, batch: &ProbeBatch) -> Result<Forward, ProbeError> {
        let SubnetworkProbeOutput { vectors, logits, losses } = SubnetworkProbe::forward(self, batch)?;
        Ok(Forward { vectors, losses, logits: Some(logits) })
    }

    fn load(&mut self, params: Tensors) -> Result<(), ProbeError> {
        let (probe, masks): (Tensors, Tensors) = params.into_iter().partition(|(name, _)| name.starts_with("probe."));
        self.load_probe_params(&probe)?;
        Ok(self.circuit_mut().load_mask_params(&masks)?)
    }

    fn params(&self) -> Tensors {
        let mut params = self.circuit().mask_params();
        params.extend(self.probe_params());
        params
    }

    fn gradients(&self, gradients: &Gradients) -> Tensors {
        let mut named_gradients = self.circuit().mask_gradients(gradients);
        named_gradients.extend(self.probe_gradients(gradients));
        named_gradients
    }
}
