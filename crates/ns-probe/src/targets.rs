//! Converts the maskable layers of ns-models to the mask targets of ns-circuit.

use ns_circuit::{LayerKind, MaskTarget};
use ns_models::Model;

/// The layers of `model` that can be masked, with their Hugging Face names.
pub fn mask_targets<M: Model>(model: &M) -> Vec<MaskTarget> {
    let target = |layer: ns_models::MaskableLayer| MaskTarget {
        kind: match layer.kind {
            ns_models::LayerKind::Linear => LayerKind::Linear,
            ns_models::LayerKind::GptConv1d => LayerKind::GptConv1d,
            ns_models::LayerKind::Conv1d => LayerKind::Conv1d,
            ns_models::LayerKind::Conv2d => LayerKind::Conv2d,
        },
        name: layer.name,
        path: layer.path,
    };
    model.maskable_layers().into_iter().map(target).collect()
}
