//! Locates the MLPs of the blocks, so that hidden units can be removed from them.

use crate::activation::Activation;
use crate::any::AnyTransformer;
use crate::any_model::AnyModel;
use crate::checkpoint::Pretrained;
use crate::error::ModelError;
use crate::layers::MaskableLayer;
use crate::model::Model;

/// The MLPs of a transformer, `output(activation(input(x)))`, one per block.
///
/// A hidden unit of an MLP is used by the two layers of this MLP only. All other dimensions of a block belong to the
/// residual stream or to an attention head.
#[derive(Clone, Debug, PartialEq)]
pub struct MlpLayout {
    /// Activation function of the hidden units.
    pub activation: Activation,
    /// Field of `config.json` with the number of hidden units. The number is the same in all blocks.
    pub width_field: &'static str,
    /// The input layer and the output layer of the MLP of each block.
    pub blocks: Vec<[MaskableLayer; 2]>,
}

/// Suffixes of the names of the input layer and the output layer of an MLP.
type Names = [&'static str; 2];

const GPT: Names = ["mlp.c_fc", "mlp.c_proj"];
const GPT_NEOX: Names = ["mlp.dense_h_to_4h", "mlp.dense_4h_to_h"];
const BERT: Names = ["intermediate.dense", "output.dense"];

impl AnyModel {
    /// Returns the MLPs of the blocks.
    ///
    /// # Errors
    /// Returns [`ModelError::NoMlp`] for a ResNet and for a ConvBERT with grouped MLP layers.
    pub fn mlps(&self) -> Result<MlpLayout, ModelError> {
        let none = |reason: &str| ModelError::NoMlp { model_type: self.model_type().into(), reason: reason.into() };
        let model = match self {
            Self::Transformer(model) => model,
            Self::ResNet(_) => {
                return Err(none("its layers are convolutions whose channels are added up by residual connections"));
            }
        };
        let (names, width_field, activation) = match model {
            AnyTransformer::Gpt2(model) => (GPT, "n_inner", model.config().activation_function),
            AnyTransformer::GptNeo(model) => (GPT, "intermediate_size", model.config().activation_function),
            AnyTransformer::GptNeoX(model) => (GPT_NEOX, "intermediate_size", model.config().hidden_act),
            AnyTransformer::Encoder(model) => (BERT, "intermediate_size", model.config().hidden_act),
            AnyTransformer::Vit(model) => (BERT, "intermediate_size", model.config().hidden_act),
        };
        let blocks = pairs(&self.maskable_layers(), names);
        match blocks.is_empty() {
            true => Err(none("its MLP layers are grouped (num_groups > 1)")),
            false => Ok(MlpLayout { activation, width_field, blocks }),
        }
    }
}

/// Whether the name of a layer is that of the input layer of an MLP.
pub(crate) fn is_mlp_input(name: &str) -> bool {
    [GPT, GPT_NEOX, BERT].iter().any(|[input, _]| name.ends_with(input))
}

/// Pairs each layer whose name ends in `input` with the layer of the same block whose name ends in `output`.
fn pairs(layers: &[MaskableLayer], [input, output]: Names) -> Vec<[MaskableLayer; 2]> {
    let pair = |layer: &MaskableLayer| {
        let block = layer.name.strip_suffix(input)?;
        let output = layers.iter().find(|other| other.name.strip_suffix(output) == Some(block))?;
        Some([layer.clone(), output.clone()])
    };
    layers.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any::model_types;
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
            for [input, output] in mlps.blocks {
                let mut shape = output.shape.clone();
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
