//! How far up a walk nothing depends on chosen layers.

use crate::block_layout::{Component, Location};
use crate::layer_components::{LayerComponents, layer_components};
use crate::layers::LayerKind;
use crate::mlp::leads_to_hidden_units;
use crate::site::{Site, Sublayer, Vector};
use crate::transformer::Transformer;

/// The last site at or before `site` that none of these layers (HF names) has touched, and from which a walk can go on
/// (or which is `site` itself); `None` where a layer makes the embeddings.
pub fn last_unaffected<M: Transformer>(model: &M, layers: &[String], site: Site) -> Option<Site> {
    let chosen = layer_components(model).into_iter().filter(|parts| layers.contains(&parts.layer.name));
    let ends: Option<Vec<Site>> = chosen.filter_map(|parts| end_before(model, &parts)).collect();
    Some(ends?.into_iter().fold(site, Site::min))
}

/// Those of these linear layers (HF names) that read the vectors at `start` and nothing else, through a LayerNorm at
/// most: what they multiply with their weight is the same whatever the layers hold, if `start` is.
pub fn layers_fed_by<M: Transformer>(model: &M, layers: &[String], start: Site) -> Vec<String> {
    let is_fed = |parts: &LayerComponents| {
        layers.contains(&parts.layer.name)
            && matches!(parts.layer.kind, LayerKind::Linear | LayerKind::GptConv1d)
            && end_before(model, parts) == Some(Some(start))
            && (parts.makes_queries_keys_or_values() || leads_to_hidden_units(&parts.layer.name))
    };
    layer_components(model).into_iter().filter(is_fed).map(|parts| parts.layer.name).collect()
}

/// The input of the half block that a layer is in; `Some(None)` for the embeddings' layers, `None` for those after the
/// blocks.
fn end_before<M: Transformer>(model: &M, parts: &LayerComponents) -> Option<Option<Site>> {
    match parts.location {
        Location::Input => Some(None),
        Location::Output => None,
        Location::Block { layer, .. } => {
            let between = Site::new(Sublayer::Attn, Vector::Stream, layer);
            let in_mlp = parts.slices.iter().all(|slice| slice.component == Component::Mlp);
            Some(Some(if in_mlp && model.is_start(between) { between } else { block_input(layer) }))
        }
    }
}

/// The residual stream that a block starts from.
fn block_input(layer: usize) -> Site {
    match layer.checked_sub(1) {
        None => Site::Embeddings,
        Some(below) => Site::new(Sublayer::Mlp, Vector::Stream, below),
    }
}
