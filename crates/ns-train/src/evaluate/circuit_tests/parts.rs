//! The parts of a circuit that are tested for minimality: heads and MLPs, and masked layers.

use std::collections::BTreeMap;

use ns_circuit::CircuitModel;
use ns_models::{Component, LayerComponents, Location, WeightSlice, layer_components};

use super::units::{CircuitUnits, UnitMask};
use crate::evaluate::scores::Answering;

/// A part of a circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name, e.g. `layer 0 head 1`.
    pub(super) name: String,
    /// Its units in the circuit.
    pub(super) units: Vec<usize>,
}

/// The heads, MLPs and other components that have units in the circuit, in the order of the model.
pub(super) fn components<M: Answering>(circuit: &CircuitModel<M>, units: &CircuitUnits) -> Vec<Part> {
    let mut found = BTreeMap::<(Location, Component), Vec<usize>>::new();
    for layer in layer_components(circuit.base()) {
        for mask in units.masks().iter().filter(|mask| mask.layer() == layer.layer.name) {
            for (component, of_component) in units_by_component(&layer, mask) {
                let in_circuit = of_component.into_iter().map(|unit| mask.units.start + unit);
                let known = found.entry((layer.location, component)).or_default();
                known.extend(in_circuit.filter(|unit| units.has(*unit)));
            }
        }
    }
    let part = |((location, component), units)| Part { name: name(location, component), units };
    found.into_iter().map(part).filter(|part| !part.units.is_empty()).collect()
}

/// The masked layers that have units in the circuit.
pub(super) fn layers(units: &CircuitUnits) -> Vec<Part> {
    let mut parts = Vec::<Part>::new();
    for mask in units.masks() {
        let of_mask: Vec<usize> = mask.units.clone().filter(|unit| units.has(*unit)).collect();
        match parts.iter_mut().find(|part| part.name == mask.layer()) {
            Some(part) => part.units.extend(of_mask),
            None => parts.push(Part { name: mask.layer().into(), units: of_mask }),
        }
    }
    parts.retain(|part| !part.units.is_empty());
    parts
}

/// The entries of a mask that belong to each component. A neuron of a layer that is split by its inputs, such as the
/// output projection of attention, reads all heads and belongs to [`Component::AllHeads`].
fn units_by_component(layer: &LayerComponents, mask: &UnitMask) -> Vec<(Component, Vec<usize>)> {
    if mask.is_bias() {
        let entries = |slice: &WeightSlice| slice.bias.iter().cloned().flatten().collect();
        return layer.slices.iter().map(|slice| (slice.component, entries(slice))).collect();
    }
    let is_split = |slice: &WeightSlice| mask.shape.get(slice.axis) == layer.layer.shape.get(slice.axis);
    let with_weights = || layer.slices.iter().filter(|slice| !slice.weight.is_empty());
    if with_weights().all(is_split) {
        let entries = |slice: &WeightSlice| slice.weight_runs(&mask.shape).into_iter().flatten().collect();
        return with_weights().map(|slice| (slice.component, entries(slice))).collect();
    }
    vec![(Component::AllHeads, (0..mask.units.len()).collect())]
}

fn name(location: Location, component: Component) -> String {
    match (location, component) {
        (Location::Input | Location::Output, Component::Other) => location.to_string(),
        _ => format!("{location} {component}"),
    }
}
