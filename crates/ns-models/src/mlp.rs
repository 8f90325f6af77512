//! Locates the MLPs of the blocks, so that hidden units can be removed from them.

use crate::activation::Activation;
use crate::architectures::AnyModel;
use crate::block_layout::MlpNames;
use crate::error::ModelError;
use crate::layer_components::{LayerComponents, layer_components};
use crate::layers::MaskableLayer;
use crate::model::Model;

/// The MLPs of a transformer, one per block.
///
/// A hidden unit of an MLP is used by the layers of this MLP only. All other dimensions of a block belong to the
/// residual stream or to an attention head.
#[derive(Clone, Debug, PartialEq)]
pub struct MlpLayout {
    /// Activation function of the hidden units, or of the gates in a gated MLP.
    pub activation: Activation,
    /// Field of `config.json` with the number of hidden units. The number is the same in all blocks.
    pub width_field: &'static str,
    /// The MLP of each block.
    pub blocks: Vec<MlpLayers>,
}

/// The layers of an MLP.
#[derive(Clone, Debug, PartialEq)]
pub struct MlpLayers {
    /// The layers that compute the hidden units: one for `output(activation(input(x)))`, two for a gated MLP.
    pub inputs: Vec<MaskableLayer>,
    /// The layer that reads the hidden units.
    pub output: MaskableLayer,
}

impl AnyModel {
    /// Returns the MLPs of the blocks.
    ///
    /// # Errors
    /// Returns [`ModelError::NoMlp`] for a ResNet and for a ConvBERT with grouped MLP layers.
    pub fn mlps(&self) -> Result<MlpLayout, ModelError> {
        let none = |reason: &str| ModelError::NoMlp { model_type: self.model_type().into(), reason: reason.into() };
        let mlp = self.architecture().blocks.mlp;
        let mlp =
            mlp.ok_or_else(|| none("its layers are convolutions whose channels are added up by residual connections"))?;
        let blocks = mlps_of(&layer_components(self), mlp);
        match blocks.is_empty() {
            true => Err(none("its MLP layers are grouped (num_groups > 1)")),
            false => Ok(MlpLayout { activation: mlp.activation, width_field: mlp.width_field, blocks }),
        }
    }
}

/// Collects each output layer of an MLP with the input layers in the same block.
fn mlps_of(layers: &[LayerComponents], names: MlpNames) -> Vec<MlpLayers> {
    let input = |output: &LayerComponents, name: &str| {
        let found = layers.iter().find(|entry| entry.location == output.location && entry.short_name == name);
        found.map(|entry| entry.layer.clone())
    };
    let mlp = |output: &LayerComponents| {
        let inputs = names.inputs.iter().map(|name| input(output, name)).collect::<Option<_>>()?;
        Some(MlpLayers { inputs, output: output.layer.clone() })
    };
    layers.iter().filter(|entry| entry.short_name == names.output).filter_map(mlp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architectures::model_types;
    use burn::tensor::Device;
    use serde_json::json;

    #[test]
    fn every_transformer_has_a_pair_of_layers_per_block() {
        for model_type in model_types().into_iter().filter(|name| *name != "resnet") {
            let mut config = json!({"model_type": model_type, "vocab_size": 8, "hidden_size": 8,
                "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 12, "embedding_size": 8,
                "image_size": 4, "patch_size": 2, "max_position_embeddings": 8, "rotary_pct": 1.0});
            let gpt_neo = json!({"model_type": model_type, "vocab_size": 8, "hidden_size": 8, "num_heads": 2,
                "num_layers": 2, "intermediate_size": 12, "attention_types": [[["global", "local"], 1]]});
            if model_type == "gpt_neo" {
                config = gpt_neo;
            }
            config["n_inner"] = 12.into();
            let model = AnyModel::init(&config, &Device::default()).unwrap();
            let mlps = model.mlps().unwrap();
            assert_eq!(mlps.blocks.len(), 2, "{model_type}");
            for MlpLayers { inputs, output } in mlps.blocks {
                let ([input], mut shape) = (&inputs[..], output.shape.clone()) else { panic!("{model_type}") };
                shape.reverse();
                assert_eq!(input.shape, shape, "{model_type}: {} and {}", input.name, output.name);
                assert!(input.shape.contains(&12) && config.get(mlps.width_field).is_some(), "{model_type}");
            }
        }
    }

    #[test]
    fn a_resnet_and_grouped_mlps_say_why_not() {
        let resnet = json!({"model_type": "resnet", "embedding_size": 4, "hidden_sizes": [4], "depths": [1]});
        let grouped = json!({"model_type": "convbert", "vocab_size": 8, "hidden_size": 8, "num_attention_heads": 2,
            "num_hidden_layers": 1, "intermediate_size": 12, "embedding_size": 8, "num_groups": 2});
        for (config, reason) in [(resnet, "residual connections"), (grouped, "num_groups")] {
            let error = AnyModel::init(&config, &Device::default()).unwrap().mlps().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(config["model_type"].as_str().unwrap()), "{error}");
        }
    }
}
