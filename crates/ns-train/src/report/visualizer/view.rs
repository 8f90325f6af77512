//! The layers and hard masks of a circuit, for figures and comparisons.

use ns_circuit::{CircuitModel, Comparison, HardMask, HardMasks};
use ns_models::{LayerComponents, Model, layer_components};

use crate::error::TrainError;

/// A circuit without weights: the maskable layers of its model, split into components, and its hard masks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitView {
    pub(super) layers: Vec<LayerComponents>,
    masks: HardMasks,
}

impl CircuitView {
    /// Creates the view of a circuit. The hard masks do not depend on the circuit's current mode, ablation and on/off
    /// switch.
    pub fn new<M: Model>(circuit: &CircuitModel<M>) -> Self {
        Self { layers: layer_components(circuit.base()), masks: circuit.hard_masks() }
    }

    /// Returns the hard masks. The keys are `<layer>.weight` and `<layer>.bias`.
    pub fn masks(&self) -> &HardMasks {
        &self.masks
    }

    pub(super) fn mask(&self, layer: &LayerComponents, parameter: &str) -> Option<&HardMask> {
        self.masks.get(&format!("{}.{parameter}", layer.layer.name))
    }

    /// Computes the overlap with another circuit of the model: per parameter, per layer of the model and in total.
    /// Parameters and layers are in the order of the model.
    ///
    /// # Errors
    /// Returns [`TrainError::DifferentModels`] if the models have different layers or shapes, and
    /// [`TrainError::Circuit`] if two masks of a parameter have different shapes.
    pub fn compare(&self, other: &Self) -> Result<Comparison, TrainError> {
        self.check_same_model(other)?;
        let location = |parameter: &str| match self.position(parameter) {
            Some(layer) => self.layers[layer].location.to_string(),
            None => "other".to_owned(),
        };
        let mut comparison = ns_circuit::compare(&self.masks, &other.masks, location)?;
        comparison.tensors.sort_by_key(|(name, _)| self.position(name));
        comparison
            .groups
            .sort_by_key(|(name, _)| self.layers.iter().position(|layer| layer.location.to_string() == *name));
        comparison.first_only.sort_by_key(|name| self.position(name));
        comparison.second_only.sort_by_key(|name| self.position(name));
        Ok(comparison)
    }

    /// Returns the index of the layer that a parameter belongs to.
    fn position(&self, parameter: &str) -> Option<usize> {
        let name = parameter.rsplit_once('.').map_or(parameter, |(layer, _)| layer);
        self.layers.iter().position(|layer| layer.layer.name == name)
    }

    /// Checks that the models of two circuits have the same layers and shapes. Their weights may differ.
    ///
    /// # Errors
    /// Returns [`TrainError::DifferentModels`] with one entry per layer that differs.
    pub fn check_same_model(&self, other: &Self) -> Result<(), TrainError> {
        let shape = |view: &Self, name: &str| {
            view.layers.iter().find(|layer| layer.layer.name == name).map(|layer| layer.layer.shape.clone())
        };
        let names = self.layers.iter().chain(other.layers.iter().filter(|l| shape(self, &l.layer.name).is_none()));
        let differences: Vec<String> = names
            .filter_map(|layer| {
                let name = &layer.layer.name;
                match (shape(self, name), shape(other, name)) {
                    (first, second) if first == second => None,
                    (Some(first), Some(second)) => Some(format!("`{name}` is {first:?} and {second:?}")),
                    (Some(_), None) => Some(format!("only the first has `{name}`")),
                    _ => Some(format!("only the second has `{name}`")),
                }
            })
            .collect();
        if differences.is_empty() { Ok(()) } else { Err(TrainError::DifferentModels { differences }) }
    }
}
