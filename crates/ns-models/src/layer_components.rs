//! Assigns each maskable weight to a component of its block, such as an attention head or the MLP.

use std::ops::Range;

use crate::block_layout::{BlockLayout, Component, HeadSplit, Location};
use crate::layers::{LayerKind, MaskableLayer};
use crate::model::Model;

/// A maskable layer and the components that its parameters belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerComponents {
    /// The layer.
    pub layer: MaskableLayer,
    /// Location of the layer in the model.
    pub location: Location,
    /// Name of the layer within its block, or the full name if the layer is outside the blocks.
    pub short_name: String,
    /// The parameters of each component. Each entry of the weight and of the bias is in exactly one slice.
    pub slices: Vec<WeightSlice>,
}

impl LayerComponents {
    /// Whether the layer computes queries, keys or values of an attention layer.
    pub(crate) fn is_query_key_or_value(&self) -> bool {
        let [output, _] = output_and_input(self.layer.kind);
        self.slices.iter().all(|slice| matches!(slice.component, Component::Head(_)) && slice.axis == output)
    }
}

/// The parameters of one layer that belong to one component. Axes and indices refer to HF's weight layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSlice {
    /// The component.
    pub component: Component,
    /// The axis along which the weight is split.
    pub axis: usize,
    /// Ranges of indices along `axis`.
    pub weight: Vec<Range<usize>>,
    /// Ranges of indices into the bias. Empty if no entry of a bias belongs to the component.
    pub bias: Vec<Range<usize>>,
}

impl WeightSlice {
    /// Returns the entries of the weight as ranges of indices into its flat, row-major values. `shape` is the shape of
    /// the weight.
    pub fn weight_runs(&self, shape: &[usize]) -> Vec<Range<usize>> {
        let Some((&width, inner)) = shape.get(self.axis).zip(shape.get(self.axis + 1..)) else {
            return Vec::new();
        };
        let (outer, inner) = (shape[..self.axis].iter().product::<usize>(), inner.iter().product::<usize>());
        let run =
            |row: usize, range: &Range<usize>| (row * width + range.start) * inner..(row * width + range.end) * inner;
        (0..outer).flat_map(|row| self.weight.iter().map(move |range| run(row, range))).collect()
    }
}

/// Returns the maskable layers of `model` with their components, in the order of [`Model::maskable_layers`].
pub fn layer_components<M: Model>(model: &M) -> Vec<LayerComponents> {
    components_of(model.maskable_layers(), &model.architecture().blocks)
}

fn components_of(layers: Vec<MaskableLayer>, block_layout: &BlockLayout) -> Vec<LayerComponents> {
    let mut outside = Location::Input;
    let components = |layer: MaskableLayer| {
        let Some((location, rest)) = block_of(&layer.name, block_layout.lists) else {
            let short_name = layer.name.clone();
            return LayerComponents { location: outside, short_name, slices: whole(&layer, Component::Other), layer };
        };
        outside = Location::Output;
        LayerComponents { location, slices: split_layer(&layer, block_layout.split_of(&rest)), short_name: rest, layer }
    };
    layers.into_iter().map(components).collect()
}

/// The block that contains a layer, and the name of the layer within that block. `None` outside the blocks.
fn block_of(name: &str, lists: &[&str]) -> Option<(Location, String)> {
    let parts: Vec<&str> = name.split('.').collect();
    let indices = |window: &[&str]| -> Option<Vec<usize>> {
        let pairs = window.chunks(2).zip(lists);
        pairs.map(|(pair, list)| if pair[0] == *list { pair[1].parse().ok() } else { None }).collect()
    };
    let length = 2 * lists.len();
    let (start, indices) =
        parts.windows(length).enumerate().find_map(|(start, window)| Some((start, indices(window)?)))?;
    let rest = parts[start + length..].join(".");
    let location = match indices[..] {
        [layer] => Location::Block { stage: None, layer },
        [stage, layer] => Location::Block { stage: Some(stage), layer },
        _ => return None,
    };
    Some((location, rest))
}

fn split_layer(layer: &MaskableLayer, split: HeadSplit) -> Vec<WeightSlice> {
    let (n_heads, parts, outputs) = match split {
        HeadSplit::Outputs(n_heads, parts) => (n_heads, parts, true),
        HeadSplit::Inputs(n_heads, parts) => (n_heads, parts, false),
        HeadSplit::Whole(component) => return whole(layer, component),
    };
    let [output, input] = output_and_input(layer.kind);
    let axis = if outputs { output } else { input };
    let (width, count) = (layer.shape[axis], parts.len() * n_heads);
    if count == 0 || !width.is_multiple_of(count) {
        return whole(layer, Component::AllHeads);
    }
    let mut slices: Vec<WeightSlice> = Vec::new();
    for index in 0..count {
        let range = index * (width / count)..(index + 1) * (width / count);
        let component = parts[index / n_heads](index % n_heads);
        let bias = if outputs && layer.bias { vec![range.clone()] } else { Vec::new() };
        match slices.iter_mut().find(|slice| slice.component == component) {
            Some(slice) => {
                slice.weight.push(range);
                slice.bias.extend(bias);
            }
            None => slices.push(WeightSlice { component, axis, weight: vec![range], bias }),
        }
    }
    if !outputs && layer.bias {
        let bias = WeightSlice { weight: Vec::new(), ..whole_slice(layer, Component::AllHeads) };
        slices.push(bias);
    }
    slices
}

fn whole(layer: &MaskableLayer, component: Component) -> Vec<WeightSlice> {
    vec![whole_slice(layer, component)]
}

fn whole_slice(layer: &MaskableLayer, component: Component) -> WeightSlice {
    let [axis, _] = output_and_input(layer.kind);
    let all = 0..layer.shape[axis];
    WeightSlice { component, axis, weight: vec![all.clone()], bias: if layer.bias { vec![all] } else { Vec::new() } }
}

/// The axes of the outputs and of the inputs of a weight in HF's layout.
fn output_and_input(kind: LayerKind) -> [usize; 2] {
    match kind {
        LayerKind::Linear | LayerKind::Conv1d | LayerKind::Conv2d => [0, 1],
        LayerKind::GptConv1d => [1, 0],
    }
}

#[cfg(test)]
mod tests;
