//! A circuit as data to draw and count.

use ns_circuit::{CircuitModel, Comparison, HardMask, HardMasks};
use ns_models::{LayerComponents, Model, layer_components};

use crate::error::TrainError;

/// A circuit as data: the layers of its model with their parts, and its hard masks. It holds no weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitView {
    pub(super) layers: Vec<LayerComponents>,
    masks: HardMasks,
}

impl CircuitView {
    /// The circuit itself, whatever mode, ablation or switch is in force.
    pub fn new<M: Model>(circuit: &CircuitModel<M>) -> Self {
        Self { layers: layer_components(circuit.wrapped()), masks: circuit.hard_masks() }
    }

    /// The masks by `<layer>.weight` and `<layer>.bias`.
    pub fn masks(&self) -> &HardMasks {
        &self.masks
    }

    pub(super) fn mask(&self, layer: &LayerComponents, parameter: &str) -> Option<&HardMask> {
        self.masks.get(&format!("{}.{parameter}", layer.layer.name))
    }

    /// What two circuits share by tensor, by layer of the model and in all, in the model's order.
    ///
    /// # Errors
    /// [`TrainError::DifferentModels`].
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

    /// The layer that a parameter is of.
    fn position(&self, parameter: &str) -> Option<usize> {
        let name = parameter.rsplit_once('.').map_or(parameter, |(layer, _)| layer);
        self.layers.iter().position(|layer| layer.layer.name == name)
    }

    /// Checks that two circuits lie in models of the same layers and shapes; their weights may differ.
    ///
    /// # Errors
    /// [`TrainError::DifferentModels`].
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
