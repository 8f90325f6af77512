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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use ns_circuit::discover_targets;
    use ns_models::{CommonConfig, Gpt2, Gpt2Config, GptNeo, GptNeoConfig, Pretrained};

    fn paths_and_kinds(targets: Vec<MaskTarget>) -> Vec<(String, LayerKind)> {
        targets.into_iter().map(|target| (target.path, target.kind)).collect()
    }

    #[test]
    fn discovery_tells_conv1d_from_linear_layers() {
        let config = Gpt2Config {
            vocab_size: 10,
            n_positions: 4,
            n_embd: 8,
            n_layer: 1,
            n_head: 2,
            common: CommonConfig::from_architecture("GPT2ForTokenClassification"),
            ..Default::default()
        };
        let gpt2 = Gpt2::init(&config, &Device::default()).unwrap();
        let found = paths_and_kinds(discover_targets(&gpt2));
        assert_eq!(found, paths_and_kinds(mask_targets(&gpt2)));
        let kinds = found.iter().map(|(_, kind)| *kind).collect::<Vec<_>>();
        let conv1d = LayerKind::GptConv1d;
        assert_eq!(
            kinds,
            [conv1d, conv1d, conv1d, conv1d, LayerKind::Linear],
            "four in the block, then the classifier"
        );

        let config = GptNeoConfig { vocab_size: 10, hidden_size: 8, num_heads: 2, ..Default::default() };
        let gpt_neo = GptNeo::init(&config, &Device::default()).unwrap();
        let found = paths_and_kinds(discover_targets(&gpt_neo));
        assert_eq!(found, paths_and_kinds(mask_targets(&gpt_neo)));
        assert!(found.iter().all(|(_, kind)| *kind == LayerKind::Linear));
    }
}
