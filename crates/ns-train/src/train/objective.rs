//! What a training step computes from a batch, and which parameters it trains.

use std::marker::PhantomData;

use burn::module::{Module, ModuleDisplay, ParamGroup};
use ns_circuit::{CircuitModel, Losses};
use ns_probe::{ActivationCache, Probe, ProbeBatch};

use crate::data::Dataset;
use crate::error::TrainError;

/// The goal of training: the loss of a batch, for a module with a circuit in it.
pub trait Objective {
    /// The module whose parameters the optimiser updates.
    type Module: Module;
    /// The model that the circuit masks.
    type Base: Module + ModuleDisplay;

    /// The masked model in the module.
    fn circuit(module: &Self::Module) -> &CircuitModel<Self::Base>;

    /// The masked model in the module, to change its settings.
    fn circuit_mut(module: &mut Self::Module) -> &mut CircuitModel<Self::Base>;

    /// Computes the loss of a batch. `rows` are the examples of the batch in its data set.
    ///
    /// # Errors
    /// Returns an error if the forward pass fails.
    fn loss(&mut self, module: &Self::Module, rows: &[usize], batch: &ProbeBatch) -> Result<Losses, TrainError>;

    /// The trained parameters, which a checkpoint stores; `None` for all. By default the mask parameters if the base is
    /// frozen: a resumed run loads the base from where the recipe says.
    fn trained(module: &Self::Module) -> Option<ParamGroup> {
        let circuit = Self::circuit(module);
        circuit.config().freeze_base.then(|| circuit.mask_parameters())
    }

    /// Metrics that are measured between epochs, by name. There are none by default.
    ///
    /// # Errors
    /// Returns an error if a forward pass fails.
    fn evaluate(&self, _module: &Self::Module, _data: &dyn Dataset) -> Result<Vec<(&'static str, f64)>, TrainError> {
        Ok(Vec::new())
    }
}

/// Minimises the loss of a circuit probe or a subnetwork probe. The frozen activations are cached.
pub struct ProbeObjective<P> {
    pub(crate) activations: ActivationCache,
    probe: PhantomData<fn() -> P>,
}

impl<P> ProbeObjective<P> {
    pub(crate) fn new(activations: ActivationCache) -> Self {
        Self { activations, probe: PhantomData }
    }
}

impl<P: Probe> Objective for ProbeObjective<P> {
    type Module = P;
    type Base = P::Base;

    fn circuit(probe: &P) -> &CircuitModel<P::Base> {
        probe.circuit()
    }

    fn circuit_mut(probe: &mut P) -> &mut CircuitModel<P::Base> {
        probe.circuit_mut()
    }

    fn loss(&mut self, probe: &P, rows: &[usize], batch: &ProbeBatch) -> Result<Losses, TrainError> {
        let frozen = probe.cached_activations(&mut self.activations, rows, batch)?;
        Ok(probe.losses_from(&frozen, batch)?)
    }

    fn trained(probe: &P) -> Option<ParamGroup> {
        Some(probe.trained_parameters())
    }
}
