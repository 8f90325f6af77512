//! The macros that declare [`AnyTransformer`](super::AnyTransformer) and [`AnyModel`]: enums over model families, of
//! which `model_type` in `config.json` selects one.

use serde_json::Value;

use super::{AnyModel, AnyTransformer};
use crate::error::ModelError;
use crate::model::Model;

/// Declares an enum over models and forwards all calls to the model of the active variant. Each variant comes with its
/// model and the model's constructor from a `config.json`. The function after the name of the enum returns the error
/// for a `model_type` without a variant.
macro_rules! any_model {
    (
        $(#[$doc:meta])* $any:ident, $unsupported:path;
        $($(#[$variant_doc:meta])* $variant:ident($model:ident, $init:ident);)+
    ) => {
        $(#[$doc])*
        #[derive(burn::module::Module, Debug)]
        #[allow(clippy::large_enum_variant)]
        pub enum $any {
            $($(#[$variant_doc])* $variant($model),)+
        }

        $(impl From<$model> for $any {
            fn from(model: $model) -> Self {
                Self::$variant(model)
            }
        })+

        const _: () = {
            use std::collections::BTreeMap;
            use std::path::Path;

            use burn::tensor::{Device, TensorData};
            use serde_json::Value;

            use crate::checkpoint::{HfNames, Pretrained, load_as};
            use crate::config::{InitialValue, read_config};
            use crate::error::ModelError;
            use crate::inputs::{Logits, ModelInputs};
            use crate::model::{Architecture, Model};
            use crate::linear_hook::Hook;

            impl $any {
                /// Values of `model_type` that select a variant.
                pub(super) fn model_types() -> Vec<&'static str> {
                    [$($model::model_types()),+].concat()
                }

                /// Creates a model from the contents of a `config.json`. Its weights are zeros; fill them from a
                /// checkpoint or as [`Model::initial_value`] says.
                ///
                /// # Errors
                /// Returns [`ModelError::UnknownModelType`] for an unsupported `model_type`,
                /// [`ModelError::NoResidualStream`] for a ResNet if a transformer is required,
                /// [`ModelError::UnknownArchitecture`] for an unsupported head, and [`ModelError::InvalidJson`] or
                /// [`ModelError::InvalidConfig`] for an invalid configuration.
                pub fn init(config: &Value, device: &Device) -> Result<Self, ModelError> {
                    let model_type = any::model_type(config)?;
                    $(if $model::model_types().contains(&model_type) {
                        return Ok(Self::$variant($model::$init(config, device)?));
                    })+
                    Err($unsupported(model_type))
                }

                /// Loads a model from a folder written by `save_pretrained`.
                ///
                /// # Errors
                /// Returns the errors of [`Self::init`] and of [`Pretrained::load`].
                pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self, ModelError> {
                    let folder = folder.as_ref();
                    load_as(folder, &read_config(folder)?, |config| Self::init(config, device))
                }

                /// Loads the base model from a folder, without the head that the checkpoint was saved with.
                ///
                /// # Errors
                /// Returns the errors of [`Self::init`] and of [`Pretrained::load_base`].
                pub fn load_base(folder: impl AsRef<Path>, device: &Device) -> Result<Self, ModelError> {
                    let folder = folder.as_ref();
                    let config = read_config(folder)?;
                    let model_type = any::model_type(&config)?;
                    $(if $model::model_types().contains(&model_type) {
                        return Ok(Self::$variant($model::load_base(folder, device)?));
                    })+
                    Err($unsupported(model_type))
                }

                /// Replaces the weights of the base model with those of a folder. The head keeps its weights.
                ///
                /// # Errors
                /// Returns the errors of [`Pretrained::with_base_weights`].
                pub fn with_base_weights(self, folder: impl AsRef<Path>) -> Result<Self, ModelError> {
                    match self {
                        $(Self::$variant(model) => Ok(Self::$variant(model.with_base_weights(folder)?)),)+
                    }
                }

                /// Checks that the weights of the base model are in a folder, without reading them and without allocating
                /// those of this model.
                ///
                /// # Errors
                /// Returns the errors of [`Pretrained::check_base_weights`].
                pub fn check_base_weights(&self, folder: impl AsRef<Path>) -> Result<(), ModelError> {
                    match self { $(Self::$variant(model) => model.check_base_weights(folder),)+ }
                }

                /// Writes the model to a folder (`config.json` and `model.safetensors`) that `transformers` can load.
                ///
                /// # Errors
                /// Returns [`ModelError::Io`] if a file cannot be written and [`ModelError::UnreadableTensor`] if a
                /// parameter cannot be read from its device.
                pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), ModelError> {
                    match self { $(Self::$variant(model) => model.save(folder),)+ }
                }

                /// Returns the tensors of the checkpoint, with HF's names and layouts.
                ///
                /// # Errors
                /// Returns [`ModelError::UnreadableTensor`] if a parameter cannot be read from its device.
                pub fn tensors(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
                    match self { $(Self::$variant(model) => model.tensors(),)+ }
                }

                /// Returns the tensors of PyTorch's `state_dict()`: the tensors of the checkpoint, plus the weights of
                /// tied heads under their own names.
                ///
                /// # Errors
                /// Returns [`ModelError::UnreadableTensor`] if a parameter cannot be read from its device.
                pub fn state_dict(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
                    match self { $(Self::$variant(model) => model.state_dict(),)+ }
                }
            }

            impl Model for $any {
                fn architecture(&self) -> Architecture {
                    match self { $(Self::$variant(model) => model.architecture(),)+ }
                }

                fn hf_names(&self) -> HfNames {
                    match self { $(Self::$variant(model) => model.hf_names(),)+ }
                }

                fn device(&self) -> Device {
                    match self { $(Self::$variant(model) => model.device(),)+ }
                }

                fn initial_value(&self, path: &str, shape: &[usize]) -> InitialValue {
                    match self { $(Self::$variant(model) => model.initial_value(path, shape),)+ }
                }

                fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
                    match self { $(Self::$variant(model) => model.check_inputs(inputs),)+ }
                }

                fn logits_with(&self, inputs: &ModelInputs, hook: Hook) -> Result<Option<Logits>, ModelError> {
                    match self { $(Self::$variant(model) => model.logits_with(inputs, hook),)+ }
                }
            }
        };
    };
}

/// Declares [`AnyTransformer`](super::AnyTransformer) with one variant per family.
macro_rules! any_transformer {
    ($($(#[$doc:meta])* $family:ident;)+) => {
        any_model! {
            /// A transformer of any supported family, selected by `model_type` in its `config.json`.
            #[non_exhaustive]
            AnyTransformer, any::not_a_transformer;
            $($(#[$doc])* $family($family, from_config);)+
        }

        const _: () = {
            use burn::tensor::Tensor;

            use crate::block::Block;
            use crate::context::Context;
            use crate::error::ModelError;
            use crate::inputs::{ModelInputs, ModelOutput};
            use crate::transformer::{ResidualStream, Transformer};

            impl Transformer for AnyTransformer {
                fn residual_stream(&self) -> ResidualStream {
                    match self { $(Self::$family(model) => model.residual_stream(),)+ }
                }

                fn stream_dims(&self, inputs: &ModelInputs) -> Result<[usize; 2], ModelError> {
                    match self { $(Self::$family(model) => model.stream_dims(inputs),)+ }
                }

                fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
                    match self { $(Self::$family(model) => model.context(inputs),)+ }
                }

                fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
                    match self { $(Self::$family(model) => model.embed(inputs),)+ }
                }

                fn block(&self, layer: usize) -> &dyn Block {
                    match self { $(Self::$family(model) => model.block(layer),)+ }
                }

                fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
                    match self { $(Self::$family(model) => model.finish(hidden),)+ }
                }

                fn token_logits(&self, last: Tensor<3>) -> Option<Tensor<3>> {
                    match self { $(Self::$family(model) => model.token_logits(last),)+ }
                }

                fn apply_head(&self, last: Tensor<3>, inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
                    match self { $(Self::$family(model) => model.apply_head(last, inputs),)+ }
                }
            }
        };
    };
}

impl AnyModel {
    /// Returns the transformer.
    ///
    /// # Errors
    /// Returns [`ModelError::NoResidualStream`] if the model is a ResNet.
    pub fn transformer(self) -> Result<AnyTransformer, ModelError> {
        match self {
            Self::Transformer(model) => Ok(model),
            other => Err(not_a_transformer(other.model_type())),
        }
    }
}

/// Returns the supported values of `model_type`: those of the transformer families, then `resnet`.
pub fn model_types() -> Vec<&'static str> {
    AnyModel::model_types()
}

pub(super) fn model_type(config: &Value) -> Result<&str, ModelError> {
    config["model_type"].as_str().ok_or_else(|| unknown_model_type("(none)"))
}

pub(super) fn unknown_model_type(found: &str) -> ModelError {
    ModelError::UnknownModelType { found: found.into(), known: model_types().into_iter().map(String::from).collect() }
}

/// The error for a `model_type` that is not a variant of [`AnyTransformer`].
pub(super) fn not_a_transformer(model_type: &str) -> ModelError {
    match model_types().contains(&model_type) {
        true => ModelError::NoResidualStream { model_type: model_type.into() },
        false => unknown_model_type(model_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::find_layers;
    use burn::tensor::Device;
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
            let found: Vec<_> = find_layers(&model).into_iter().map(|layer| layer.path).collect();
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
