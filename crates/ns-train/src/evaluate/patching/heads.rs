//! The results of attention heads: where a forward pass has them, how they are recorded and replaced.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;
use ns_models::{AnyTransformer, Component, LayerKind, LinearHook, Location, layer_components, layer_ids};

/// The input of the output projection of attention in a block: the results of its heads side by side.
#[derive(Clone, Debug)]
pub(crate) struct HeadInput {
    /// The weight of the output projection.
    pub(super) weight: ParamId,
    /// The columns of each head.
    pub(in crate::evaluate) heads: Vec<Range<usize>>,
}

/// The results of the heads of each block.
pub(crate) fn head_inputs(model: &AnyTransformer) -> BTreeMap<usize, HeadInput> {
    let ids: BTreeMap<String, ParamId> = layer_ids(model).into_iter().map(|(id, name)| (name, id)).collect();
    let entries = layer_components(model).into_iter().filter_map(|entry| {
        let Location::Block { stage: None, layer } = entry.location else { return None };
        let inputs = usize::from(entry.layer.kind != LayerKind::GptConv1d);
        let of_head = entry.slices.iter().filter(|slice| slice.axis == inputs);
        let of_head = of_head.filter(|slice| matches!(slice.component, Component::Head(_)));
        let heads: Vec<Range<usize>> = of_head.filter_map(|slice| slice.weight.first().cloned()).collect();
        let weight = *ids.get(&entry.layer.name)?;
        (!heads.is_empty()).then_some((layer, HeadInput { weight, heads }))
    });
    entries.collect()
}

/// Records the results of heads.
#[derive(Debug)]
pub(super) struct RecordHeads {
    layers: BTreeMap<ParamId, usize>,
    values: Mutex<BTreeMap<usize, Tensor<3>>>,
}

impl RecordHeads {
    pub(super) fn new(inputs: &BTreeMap<usize, HeadInput>) -> Self {
        let layers = inputs.iter().map(|(layer, input)| (input.weight, *layer)).collect();
        Self { layers, values: Mutex::default() }
    }

    /// The recorded values by layer, `[batch, seq, width]`.
    pub(super) fn values(&self) -> BTreeMap<usize, Tensor<3>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl LinearHook for RecordHeads {
    fn input(&self, weight: &Param<Tensor<2>>, x: Tensor<3>) -> Tensor<3> {
        if let Some(layer) = self.layers.get(&weight.id) {
            self.values.lock().unwrap_or_else(PoisonError::into_inner).insert(*layer, x.clone());
        }
        x
    }
}

/// Replaces the result of one head at all positions.
#[derive(Debug)]
pub(super) struct PatchHead {
    pub(super) weight: ParamId,
    pub(super) columns: Range<usize>,
    /// The results of all heads in another run, `[batch, seq, width]`.
    pub(super) values: Tensor<3>,
}

impl LinearHook for PatchHead {
    fn input(&self, weight: &Param<Tensor<2>>, x: Tensor<3>) -> Tensor<3> {
        if weight.id != self.weight {
            return x;
        }
        let [batch, seq, _] = x.dims();
        let target = [0..batch, 0..seq, self.columns.clone()];
        x.slice_assign(target.clone(), self.values.clone().slice(target))
    }
}
