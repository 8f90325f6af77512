//! The size of a circuit (L0) and the L0 term of the training loss.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::mask::host;
use crate::methods::{Method, continuous_sparsification};
use crate::snapshot::MaskSnapshot;

/// The size of a circuit: how many weights and masked biases its hard masks keep.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct L0Statistics {
    /// Number of entries in the circuit.
    pub total: f64,
    /// Number of masked entries, which is the largest possible `total`.
    pub max: f64,
    /// Sizes per layer, in the order of `target_layers`.
    pub layers: Vec<LayerL0>,
}

/// The size of a circuit in one layer: its weight plus its masked bias, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerL0 {
    /// Name of the layer.
    pub name: String,
    /// Number of entries in the circuit.
    pub l0: f64,
    /// Number of masked entries, which is the largest possible `l0`.
    pub max: f64,
}

/// Counts the entries that the hard masks of `snapshots` keep. A mask entry counts once per weight that it covers.
pub(crate) fn statistics(control: &Control, snapshots: &[MaskSnapshot]) -> L0Statistics {
    let mut statistics = L0Statistics::default();
    for snapshot in snapshots {
        let param = &control.masked[snapshot.index];
        let (ones, max) = (kept(control, snapshot) as f64, param.len() as f64);
        statistics.total += ones;
        statistics.max += max;
        match statistics.layers.last_mut() {
            Some(layer) if layer.name == param.layer => {
                layer.l0 += ones;
                layer.max += max;
            }
            _ => statistics.layers.push(LayerL0 { name: param.layer.clone(), l0: ones, max }),
        }
    }
    statistics
}

/// The training L0 of one mask, shape `[1]`.
///
/// It is differentiable for hard concrete and continuous sparsification. It is a constant, the size of the hard mask,
/// for magnitude pruning and, in training mode, for continuous sparsification with frozen mask parameters.
pub(crate) fn training_term(control: &Control, snapshot: &MaskSnapshot) -> Tensor<1> {
    let (param, handoff) = (&control.masked[snapshot.index], &control.l0_handoffs[snapshot.index]);
    match (&control.method, &snapshot.logits) {
        (Method::HardConcrete(concrete), Some(logits)) => concrete.l0(logits.clone(), handoff),
        (Method::ContinuousSparsification, Some(logits)) if logits.is_require_grad() || !snapshot.training() => {
            let temperature = control.state().temperature;
            continuous_sparsification::l0(logits.clone(), temperature, param.repeat(), handoff)
        }
        _ => Tensor::from_floats([kept(control, snapshot) as f32], snapshot.device()),
    }
}

/// Number of parameter entries that the hard mask keeps. It is counted on the host, so it is exact.
fn kept(control: &Control, snapshot: &MaskSnapshot) -> usize {
    let mask = snapshot.with_inputs(|inputs| host(control.hard_mask(inputs)));
    mask.iter().filter(|m| **m != 0.0).count() * control.masked[snapshot.index].repeat()
}
