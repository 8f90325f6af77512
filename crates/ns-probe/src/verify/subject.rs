//! What golden cases need from circuit probes and subnetwork probes.

use std::collections::BTreeMap;

use burn::module::ModuleDisplay;
use burn::tensor::{Gradients, Tensor, TensorData};
use ns_models::Transformer;

use crate::batch::ProbeBatch;
use crate::circuit_probe::CircuitProbe;
use crate::error::ProbeError;
use crate::probe::Probe;
use crate::subnetwork_probe::SubnetworkProbe;

/// Output of a forward pass.
pub(super) struct Forward {
    pub(super) vectors: Tensor<2>,
    pub(super) loss: Tensor<1>,
    pub(super) loss_without_l0: Option<Tensor<1>>,
    pub(super) logits: Option<Tensor<2>>,
}

/// A probe under test.
pub(super) trait Subject: Probe {
    fn forward(&self, batch: &ProbeBatch) -> Result<Forward, ProbeError>;
    fn load(&mut self, params: BTreeMap<String, TensorData>) -> Result<(), ProbeError>;

    fn params(&self) -> BTreeMap<String, TensorData> {
        self.circuit().mask_params()
    }

    fn gradients(&self, gradients: &Gradients) -> BTreeMap<String, TensorData> {
        self.circuit().mask_gradients(gradients)
    }
}

impl<M: Transformer + ModuleDisplay> Subject for CircuitProbe<M> {
    fn forward(&self, batch: &ProbeBatch) -> Result<Forward, ProbeError> {
        let output = CircuitProbe::forward(self, batch)?;
        Ok(Forward {
            vectors: output.vectors,
            loss: output.loss,
            loss_without_l0: Some(output.loss_without_l0),
            logits: None,
        })
    }

    fn load(&mut self, params: BTreeMap<String, TensorData>) -> Result<(), ProbeError> {
        Ok(self.circuit_mut().load_mask_params(&params)?)
    }
}

impl<M: Transformer + ModuleDisplay> Subject for SubnetworkProbe<M> {
    fn forward(&self, batch: &ProbeBatch) -> Result<Forward, ProbeError> {
        let output = SubnetworkProbe::forward(self, batch)?;
        Ok(Forward { vectors: output.vectors, loss: output.loss, loss_without_l0: None, logits: Some(output.logits) })
    }

    fn load(&mut self, params: BTreeMap<String, TensorData>) -> Result<(), ProbeError> {
        let (probe, masks): (BTreeMap<_, _>, BTreeMap<_, _>) =
            params.into_iter().partition(|(name, _)| name.starts_with("probe."));
        self.load_probe_params(&probe)?;
        Ok(self.circuit_mut().load_mask_params(&masks)?)
    }

    fn params(&self) -> BTreeMap<String, TensorData> {
        let mut params = self.circuit().mask_params();
        params.extend(self.probe_params());
        params
    }

    fn gradients(&self, gradients: &Gradients) -> BTreeMap<String, TensorData> {
        let mut named_gradients = self.circuit().mask_gradients(gradients);
        named_gradients.extend(self.probe_gradients(gradients));
        named_gradients
    }
}
