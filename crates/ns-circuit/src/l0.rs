//! The size of a circuit (L0) and the L0 term of the training loss.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::mask::{Mask, host};
use crate::methods::Method;

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

/// Counts the entries that the hard masks keep. A mask entry counts once per weight that it covers.
pub(crate) fn statistics(masks: &[Mask]) -> L0Statistics {
    let mut statistics = L0Statistics::default();
    for mask in masks {
        let (ones, max) = (kept(mask) as f64, mask.layout.len() as f64);
        statistics.total += ones;
        statistics.max += max;
        match statistics.layers.last_mut() {
            Some(layer) if layer.name == mask.layout.layer => {
                layer.l0 += ones;
                layer.max += max;
            }
            _ => statistics.layers.push(LayerL0 { name: mask.layout.layer.clone(), l0: ones, max }),
        }
    }
    statistics
}

/// The training L0 of one mask, shape `[1]`.
///
/// It is differentiable for hard concrete and continuous sparsification. It is a constant, the size of the hard mask,
/// for magnitude pruning and, in training mode, for continuous sparsification with frozen mask parameters.
pub(crate) fn training_term(mask: &Mask, device: &Device) -> Tensor<1> {
    let is_constant = |logits: &Tensor<1>| {
        mask.method == Method::ContinuousSparsification && mask.is_training() && !logits.is_require_grad()
    };
    let logits = mask.logits().filter(|logits| !is_constant(logits));
    let soft = logits.and_then(|logits| mask.soft_l0(logits));
    soft.unwrap_or_else(|| Tensor::from_floats([kept(mask) as f32], device))
}

/// Number of parameter entries that the hard mask keeps. It is counted on the host, so it is exact.
fn kept(mask: &Mask) -> usize {
    host(mask.hard()).iter().filter(|m| **m != 0.0).count() * mask.layout.repeat()
}
