//! What a training step computes from a batch, and which parameters it trains.

use burn::module::{Module, ModuleDisplay, ParamGroup};
use burn::tensor::Tensor;
use ns_circuit::CircuitModel;
use ns_probe::ProbeBatch;

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

    /// Computes the loss of a batch. `rows` are the examples of the batch in its data set.
    ///
    /// # Errors
    /// Returns an error if the forward pass fails.
    fn loss(&mut self, module: &Self::Module, rows: &[usize], batch: &ProbeBatch) -> Result<Loss, TrainError>;

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

/// The loss of a batch.
pub struct Loss {
    /// The loss with the L0 term `λ · L0`, which is minimised, `[1]`.
    pub total: Tensor<1>,
    /// The loss without the L0 term, which the metrics report, `[1]`.
    pub without_l0: Tensor<1>,
}

impl Loss {
    /// Adds the L0 term of a circuit to a loss.
    pub(super) fn with_l0<M: Module + ModuleDisplay>(without_l0: Tensor<1>, circuit: &CircuitModel<M>) -> Self {
        let total = match circuit.l0_loss() {
            Some(l0) => without_l0.clone() + l0,
            None => without_l0.clone(),
        };
        Self { total, without_l0 }
    }

    pub(super) fn scaled(self, factor: f64) -> Self {
        Self { total: self.total * factor, without_l0: self.without_l0 * factor }
    }
}
