//! Finds the part of a forward pass that does not depend on given layers.

use crate::block_layout::{Component, Location};
use crate::layer_components::{LayerComponents, layer_components};
use crate::layers::LayerKind;
use crate::site::{Site, Sublayer, Vector};
use crate::transformer::Transformer;

/// Returns the last site at or before `site` whose value does not depend on the given layers (HF names), or `None` if
/// one of the layers is in the embeddings.
///
/// The result is `site` itself or a site from which a forward pass can continue (see [`Transformer::is_start`]).
pub fn last_unaffected<M: Transformer>(model: &M, layers: &[String], site: Site) -> Option<Site> {
    let given = layer_components(model).into_iter().filter(|entry| layers.contains(&entry.layer.name));
    let inputs: Option<Vec<Site>> = given.filter_map(|entry| sublayer_input(model, &entry)).collect();
    Some(inputs?.into_iter().fold(site, Site::min))
}

/// Returns the layers that the value at `site` depends on (HF names), in the order of a forward pass.
pub fn layers_before<M: Transformer>(model: &M, site: Site) -> Vec<String> {
    let is_before = |entry: &LayerComponents| match (entry.location, site) {
        (Location::Input, _) => true,
        (Location::Output, _) | (_, Site::Embeddings) => false,
        (Location::Block { layer, .. }, Site::Block { layer: probed, .. }) if layer != probed => layer < probed,
        (_, Site::Block { layer, sublayer, vector }) => match (is_in_mlp(entry), sublayer) {
            (true, _) => sublayer == Sublayer::Mlp,
            (false, Sublayer::Attn) => true,
            // In a parallel block, the update of the MLP does not depend on attention.
            (false, Sublayer::Mlp) => vector == Vector::Stream || !model.block(layer).is_parallel(),
        },
    };
    layer_components(model).into_iter().filter(is_before).map(|entry| entry.layer.name).collect()
}

/// Returns the layers of the sublayer that writes to `site` (HF names): attention or the MLP of its block. Empty for
/// [`Site::Embeddings`].
pub fn layers_of_site<M: Transformer>(model: &M, site: Site) -> Vec<String> {
    let is_in_sublayer = |entry: &LayerComponents| match (entry.location, site) {
        (Location::Block { layer, .. }, Site::Block { layer: probed, sublayer, .. }) => {
            layer == probed && is_in_mlp(entry) == (sublayer == Sublayer::Mlp)
        }
        _ => false,
    };
    layer_components(model).into_iter().filter(is_in_sublayer).map(|entry| entry.layer.name).collect()
}

fn is_in_mlp(entry: &LayerComponents) -> bool {
    entry.slices.iter().all(|slice| slice.component == Component::Mlp)
}

/// Returns those of the given linear layers (HF names) whose only input is the hidden state at `start`, directly or
/// through a LayerNorm.
///
/// Masking these layers does not change their inputs, because the inputs depend only on the hidden state at `start`.
pub fn layers_fed_by<M: Transformer>(model: &M, layers: &[String], start: Site) -> Vec<String> {
    let mlp = model.architecture().blocks.mlp;
    let is_mlp_input = |name: &str| mlp.is_some_and(|mlp| mlp.inputs.contains(&name));
    let is_fed = |entry: &LayerComponents| {
        layers.contains(&entry.layer.name)
            && matches!(entry.layer.kind, LayerKind::Linear | LayerKind::GptConv1d)
            && sublayer_input(model, entry) == Some(Some(start))
            && (entry.is_query_key_or_value() || is_mlp_input(&entry.short_name))
    };
    layer_components(model).into_iter().filter(is_fed).map(|entry| entry.layer.name).collect()
}

/// The residual stream at the input of the sublayer that contains a layer. `Some(None)` for a layer of the embeddings,
/// `None` for a layer after the blocks.
fn sublayer_input<M: Transformer>(model: &M, entry: &LayerComponents) -> Option<Option<Site>> {
    match entry.location {
        Location::Input => Some(None),
        Location::Output => None,
        Location::Block { layer, .. } => {
            let attn_stream = Site::new(Sublayer::Attn, Vector::Stream, layer);
            Some(Some(if is_in_mlp(entry) && model.is_start(attn_stream) { attn_stream } else { block_input(layer) }))
        }
    }
}

/// The residual stream at the input of a block.
fn block_input(layer: usize) -> Site {
    match layer.checked_sub(1) {
        None => Site::Embeddings,
        Some(below) => Site::new(Sublayer::Mlp, Vector::Stream, below),
    }
}
