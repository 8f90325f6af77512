//! Where a forward pass has the results of attention heads.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::ParamId;
use ns_models::{Component, LayerKind, Location, Transformer, layer_components, layer_ids};

/// The input of the output projection of attention in a block: the results of its heads side by side.
#[derive(Clone, Debug)]
pub struct HeadInput {
    /// The weight of the output projection.
    pub weight: ParamId,
    /// Number of columns. ConvBERT has those of its convolution after those of the heads.
    pub width: usize,
    /// The columns of each head.
    pub heads: Vec<Range<usize>>,
}

/// The results of the heads of each block that has heads.
pub fn head_inputs<M: Transformer>(model: &M) -> BTreeMap<usize, HeadInput> {
    let ids: BTreeMap<String, ParamId> = layer_ids(model).into_iter().map(|(id, name)| (name, id)).collect();
    let entries = layer_components(model).into_iter().filter_map(|entry| {
        let Location::Block { stage: None, layer } = entry.location else { return None };
        let inputs = usize::from(entry.layer.kind != LayerKind::GptConv1d);
        let of_head = entry.slices.iter().filter(|slice| slice.axis == inputs);
        let of_head = of_head.filter(|slice| matches!(slice.component, Component::Head(_)));
        let heads: Vec<Range<usize>> = of_head.filter_map(|slice| slice.weight.first().cloned()).collect();
        let weight = *ids.get(&entry.layer.name)?;
        (!heads.is_empty()).then_some((layer, HeadInput { weight, width: entry.layer.shape[inputs], heads }))
    });
    entries.collect()
}
