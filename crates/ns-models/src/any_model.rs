//! [`AnyModel`]: a transformer or a ResNet, selected by the `model_type` of its `config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use serde_json::Value;

use crate::any::{AnyTransformer, in_variant, model_type};
use crate::block_layout::BlockLayout;
use crate::checkpoint::Pretrained;
use crate::config::{Head, InitialValue, ProblemType, read_config};
use crate::error::ModelError;
use crate::inputs::{Logits, ModelInputs};
use crate::layers::MaskableLayer;
use crate::model::Model;
use crate::resnet;
use crate::resnet::ResNet;

/// A model of any supported family, selected by `model_type` in its `config.json`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum AnyModel {
    /// A transformer. It has a residual stream.
    Transformer(AnyTransformer),
    /// A ResNet. It has no residual stream.
    ResNet(ResNet),
}

/// Evaluates an expression on the model of the active variant.
macro_rules! dispatch {
    ($any:ident, $model:ident => $call:expr) => {
        match $any {
            AnyModel::Transformer($model) => $call,
            AnyModel::ResNet($model) => $call,
        }
    };
}

impl From<AnyTransformer> for AnyModel {
    fn from(model: AnyTransformer) -> Self {
        Self::Transformer(model)
    }
}

impl From<ResNet> for AnyModel {
    fn from(model: ResNet) -> Self {
        Self::ResNet(model)
    }
}

impl AnyModel {
    /// Creates a model from the contents of a `config.json`. Its weights are zeros; fill them from a checkpoint or as
    /// [`Model::initial_value`] says.
    ///
    /// # Errors
    /// Returns [`ModelError::UnknownModelType`] for an unsupported `model_type`, [`ModelError::UnknownArchitecture`]
    /// for an unsupported head, and [`ModelError::InvalidJson`] or [`ModelError::InvalidConfig`] for an invalid
    /// configuration.
    pub fn init(config: &Value, device: &Device) -> Result<Self, ModelError> {
        match model_type(config)? {
            resnet::MODEL_TYPE => Ok(ResNet::from_config(config, device)?.into()),
            _ => Ok(AnyTransformer::init(config, device)?.into()),
        }
    }

    /// Replaces the weights of the base model with those of a folder. The head keeps its weights.
    ///
    /// # Errors
    /// Returns the errors of [`Pretrained::with_base_weights`].
    pub fn with_base_weights(self, folder: &Path) -> Result<Self, ModelError> {
        match self {
            Self::Transformer(model) => Ok(Self::Transformer(model.with_base_weights(folder)?)),
            Self::ResNet(model) => Ok(Self::ResNet(model.with_base_weights(folder)?)),
        }
    }

    /// Loads a model from a folder written by `save_pretrained`.
    ///
    /// # Errors
    /// Returns [`ModelError::UnknownModelType`] for an unsupported `model_type`, and the errors of
    /// [`Pretrained::load`].
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        match model_type(&read_config(folder)?)? {
            resnet::MODEL_TYPE => Ok(ResNet::load(folder, device)?.into()),
            _ => Ok(AnyTransformer::load(folder, device)?.into()),
        }
    }

    /// Writes the model to a folder (`config.json` and `model.safetensors`) that `transformers` can load.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] if a file cannot be written and [`ModelError::UnreadableTensor`] if a parameter
    /// cannot be read from its device.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        dispatch!(self, model => model.save(folder))
    }

    /// Returns the tensors of the checkpoint, with HF's names and layouts.
    ///
    /// # Errors
    /// Returns [`ModelError::UnreadableTensor`] if a parameter cannot be read from its device.
    pub fn tensors(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
        dispatch!(self, model => model.tensors())
    }

    /// Returns the tensors of PyTorch's `state_dict()`: the tensors of the checkpoint, plus the weights of tied heads
    /// under their own names.
    ///
    /// # Errors
    /// Returns [`ModelError::UnreadableTensor`] if a parameter cannot be read from its device.
    pub fn state_dict(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
        dispatch!(self, model => model.state_dict())
    }

    /// Returns the transformer.
    ///
    /// # Errors
    /// Returns [`ModelError::NoResidualStream`] if the model is a ResNet.
    pub fn transformer(self) -> Result<AnyTransformer, ModelError> {
        match self {
            Self::Transformer(model) => Ok(model),
            Self::ResNet(model) => Err(ModelError::NoResidualStream { model_type: model.model_type().into() }),
        }
    }
}

impl Model for AnyModel {
    fn model_type(&self) -> &'static str {
        dispatch!(self, model => model.model_type())
    }

    fn head(&self) -> Head {
        dispatch!(self, model => model.head())
    }

    fn device(&self) -> Device {
        dispatch!(self, model => model.device())
    }

    fn maskable_layers(&self) -> Vec<MaskableLayer> {
        match self {
            Self::Transformer(model) => in_variant("Transformer", model.maskable_layers()),
            Self::ResNet(model) => in_variant("ResNet", model.maskable_layers()),
        }
    }

    fn block_layout(&self) -> BlockLayout {
        dispatch!(self, model => model.block_layout())
    }

    fn initial_value(&self, path: &str, shape: &[usize]) -> InitialValue {
        dispatch!(self, model => model.initial_value(path, shape))
    }

    fn dropout(&self) -> f64 {
        dispatch!(self, model => model.dropout())
    }

    fn problem_type(&self) -> Option<ProblemType> {
        dispatch!(self, model => model.problem_type())
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        dispatch!(self, model => model.check_inputs(inputs))
    }

    fn logits(&self, inputs: &ModelInputs) -> Result<Option<Logits>, ModelError> {
        dispatch!(self, model => model.logits(inputs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::find_layers;
    use serde_json::json;

    fn configs() -> [Value; 3] {
        [
            json!({"model_type": "vit", "image_size": 4, "patch_size": 2, "hidden_size": 4, "num_attention_heads": 2,
                "num_hidden_layers": 1, "intermediate_size": 4}),
            json!({"model_type": "gpt2", "n_embd": 4, "n_head": 2, "n_layer": 1, "n_positions": 4, "vocab_size": 5}),
            json!({"model_type": "resnet", "embedding_size": 4, "hidden_sizes": [4], "depths": [1]}),
        ]
    }

    #[test]
    fn a_folder_comes_back_as_the_family_that_it_was() {
        let device = Device::default();
        for config in configs() {
            let folder = tempfile::tempdir().unwrap();
            AnyModel::init(&config, &device).unwrap().save(folder.path()).unwrap();
            let model = AnyModel::load(folder.path(), &device).unwrap();
            assert_eq!(config["model_type"], model.model_type());
        }
    }

    #[test]
    fn paths_of_maskable_layers_lead_through_the_variants() {
        for config in configs() {
            let model = AnyModel::init(&config, &Device::default()).unwrap();
            let paths: Vec<_> = model.maskable_layers().into_iter().map(|layer| layer.path).collect();
            let found: Vec<_> = find_layers(&model, |_| false).into_iter().map(|layer| layer.path).collect();
            assert_eq!(paths, found);
        }
    }

    #[test]
    fn a_resnet_is_not_a_transformer() {
        let device = Device::default();
        let [vit, _, resnet] = configs();
        assert!(AnyModel::init(&vit, &device).unwrap().transformer().is_ok());
        let model = AnyModel::init(&resnet, &device).unwrap();
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let errors = [
            model.transformer().unwrap_err(),
            AnyTransformer::init(&resnet, &device).unwrap_err(),
            AnyTransformer::load(folder.path(), &device).unwrap_err(),
            AnyTransformer::load_base(folder.path(), &device).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, ModelError::NoResidualStream { .. }), "{error:?}");
            assert!(error.to_string().contains("`resnet` has no residual stream"), "{error}");
        }
    }

    #[test]
    fn an_unknown_model_type_lists_transformers_and_others() {
        let error = AnyModel::init(&json!({"model_type": "llama"}), &Device::default()).unwrap_err();
        assert!(error.to_string().contains("vit") && error.to_string().contains("resnet"), "{error}");
    }
}
