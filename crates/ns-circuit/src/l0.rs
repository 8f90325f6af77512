//! The size of a circuit (L0) and the L0 term of the training loss.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::mask::{Mask, host};
use crate::methods::Method;

/// The size of a circuit: what its hard masks keep.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct L0Statistics {
    /// Number of weights and masked biases in the circuit.
    pub weights: usize,
    /// Number of weights and biases with a mask, which is the largest possible `weights`.
    pub max_weights: usize,
    /// Number of mask entries in the circuit. A mask entry is a weight, or a neuron for [`MaskUnit::Neuron`].
    ///
    /// [`MaskUnit::Neuron`]: crate::MaskUnit::Neuron
    pub units: usize,
    /// Number of mask entries, which is the largest possible `units`.
    pub max_units: usize,
    /// Sizes per layer, in the order of `target_layers`.
    pub layers: Vec<LayerL0>,
}

/// The size of a circuit in one layer: its weight plus its masked bias, if any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerL0 {
    /// Name of the layer.
    pub name: String,
    /// Number of weights and masked biases in the circuit.
    pub weights: usize,
    /// Number of weights and biases with a mask, which is the largest possible `weights`.
    pub max_weights: usize,
    /// Number of mask entries (weights or neurons, and biases) in the circuit.
    pub units: usize,
    /// Number of mask entries, which is the largest possible `units`.
    pub max_units: usize,
}

/// Counts what the hard masks keep. In `weights`, a mask entry counts once per weight that it covers.
pub(crate) fn statistics(masks: &[Mask]) -> L0Statistics {
    let mut layers: Vec<LayerL0> = Vec::new();
    for mask in masks {
        let (layout, units) = (&mask.layout, kept_units(mask));
        let found = LayerL0 {
            name: layout.layer.clone(),
            weights: units * layout.repeat(),
            max_weights: layout.len(),
            units,
            max_units: layout.mask_len(),
        };
        match layers.last_mut() {
            Some(layer) if layer.name == found.name => {
                layer.weights += found.weights;
                layer.max_weights += found.max_weights;
                layer.units += found.units;
                layer.max_units += found.max_units;
            }
            _ => layers.push(found),
        }
    }
    let sum = |count: fn(&LayerL0) -> usize| layers.iter().map(count).sum();
    L0Statistics {
        weights: sum(|layer| layer.weights),
        max_weights: sum(|layer| layer.max_weights),
        units: sum(|layer| layer.units),
        max_units: sum(|layer| layer.max_units),
        layers,
    }
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
    soft.unwrap_or_else(|| Tensor::from_floats([(kept_units(mask) * mask.layout.repeat()) as f32], device))
}

/// Number of entries that the hard mask keeps. They are counted on the host, so the number is exact.
fn kept_units(mask: &Mask) -> usize {
    host(mask.hard()).iter().filter(|m| **m != 0.0).count()
}
