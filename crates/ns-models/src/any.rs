//! [`AnyTransformer`]: a transformer whose family is selected by the `model_type` of its `config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

use crate::block_layout::BlockLayout;
use crate::checkpoint::Pretrained;
use crate::config::{Head, InitialValue, ProblemType, read_config};
use crate::encoder::Encoder;
use crate::error::ModelError;
use crate::gpt_neo::GptNeo;
use crate::gpt_neox::GptNeoX;
use crate::gpt2::Gpt2;
use crate::inputs::{Logits, ModelInputs, ModelOutput};
use crate::layers::MaskableLayer;
use crate::model::Model;
use crate::residual::{Observer, Walk};
use crate::resnet;
use crate::site::Site;
use crate::transformer::{Context, Transformer};
use crate::vit::Vit;

/// Declares [`AnyTransformer`] with one variant per family, and a `dispatch!` macro that forwards a call to the model
/// of the active variant. Each family is listed with the values of `model_type` that select it.
macro_rules! any_transformer {
    ($($(#[$doc:meta])* $family:ident: $($model_type:literal),+;)+) => {
        /// Values of `model_type` that select a transformer family.
        const TRANSFORMER_TYPES: &[&str] = &[$($($model_type),+),+];

        /// A transformer of any supported family, selected by `model_type` in its `config.json`.
        #[derive(Module, Debug)]
        #[allow(clippy::large_enum_variant)]
        pub enum AnyTransformer {
            $($(#[$doc])* $family($family),)+
        }

        $(impl From<$family> for AnyTransformer {
            fn from(model: $family) -> Self {
                Self::$family(model)
            }
        })+

        impl AnyTransformer {
            /// Creates a model from the contents of a `config.json`. Its weights are zeros; fill them from a checkpoint
            /// or as [`Model::initial_value`] says.
            ///
            /// # Errors
            /// Returns [`ModelError::UnknownModelType`] for an unsupported `model_type`,
            /// [`ModelError::NoResidualStream`] for a ResNet, [`ModelError::UnknownArchitecture`] for an unsupported
            /// head, and [`ModelError::InvalidJson`] or [`ModelError::InvalidConfig`] for an invalid configuration.
            pub fn init(config: &Value, device: &Device) -> Result<Self, ModelError> {
                match model_type(config)? {
                    $($($model_type)|+ => Ok(Self::$family($family::from_config(config, device)?)),)+
                    other => Err(not_a_transformer(other)),
                }
            }

            /// Loads a model from a folder written by `save_pretrained`.
            ///
            /// # Errors
            /// Returns [`ModelError::UnknownModelType`] for an unsupported `model_type`,
            /// [`ModelError::NoResidualStream`] for a ResNet, and the errors of [`Pretrained::load`].
            pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
                match model_type(&read_config(folder)?)? {
                    $($($model_type)|+ => Ok(Self::$family($family::load(folder, device)?)),)+
                    other => Err(not_a_transformer(other)),
                }
            }

            /// Loads the base model from a folder, without the head that the checkpoint was saved with.
            ///
            /// # Errors
            /// Returns [`ModelError::UnknownModelType`] for an unsupported `model_type`,
            /// [`ModelError::NoResidualStream`] for a ResNet, and the errors of [`Pretrained::load_base`].
            pub fn load_base(folder: &Path, device: &Device) -> Result<Self, ModelError> {
                match model_type(&read_config(folder)?)? {
                    $($($model_type)|+ => Ok(Self::$family($family::load_base(folder, device)?)),)+
                    other => Err(not_a_transformer(other)),
                }
            }

            /// Replaces the weights of the base model with those of a folder. The head keeps its weights.
            ///
            /// # Errors
            /// Returns the errors of [`Pretrained::with_base_weights`].
            pub fn with_base_weights(self, folder: &Path) -> Result<Self, ModelError> {
                match self {
                    $(Self::$family(model) => Ok(Self::$family(model.with_base_weights(folder)?)),)+
                }
            }

            /// Name of the active enum variant, which is part of the paths of Burn parameters.
            fn variant(&self) -> &'static str {
                match self {
                    $(Self::$family(_) => stringify!($family),)+
                }
            }
        }

        /// Evaluates an expression on the model of the active variant.
        macro_rules! dispatch {
            ($any:ident, $model:ident => $call:expr) => {
                match $any {
                    $(AnyTransformer::$family($model) => $call,)+
                }
            };
        }
    };
}

any_transformer! {
    /// GPT-2.
    Gpt2: "gpt2";
    /// GPT-Neo.
    GptNeo: "gpt_neo";
    /// GPT-NeoX and Pythia.
    GptNeoX: "gpt_neox";
    /// The encoder families: BERT, RoBERTa, ERNIE, ELECTRA, MPNet and ConvBERT.
    Encoder: "bert", "roberta", "ernie", "electra", "mpnet", "convbert";
    /// ViT.
    Vit: "vit";
}

/// Returns the supported values of `model_type`: those of the transformer families, then `resnet`.
pub fn model_types() -> Vec<&'static str> {
    [TRANSFORMER_TYPES, &[resnet::MODEL_TYPE]].concat()
}

pub(crate) fn model_type(config: &Value) -> Result<&str, ModelError> {
    config["model_type"].as_str().ok_or_else(|| unknown_model_type("(none)"))
}

fn unknown_model_type(found: &str) -> ModelError {
    ModelError::UnknownModelType { found: found.into(), known: model_types().into_iter().map(String::from).collect() }
}

/// The error for a `model_type` that is not a variant of [`AnyTransformer`].
fn not_a_transformer(model_type: &str) -> ModelError {
    match model_type {
        resnet::MODEL_TYPE => ModelError::NoResidualStream { model_type: model_type.into() },
        other => unknown_model_type(other),
    }
}

impl AnyTransformer {
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
}

/// Prepends the name of an enum variant to the Burn path of each layer.
pub(crate) fn in_variant(variant: &str, layers: Vec<MaskableLayer>) -> Vec<MaskableLayer> {
    let with_prefix = |layer: MaskableLayer| MaskableLayer { path: format!("{variant}.{}", layer.path), ..layer };
    layers.into_iter().map(with_prefix).collect()
}

impl Model for AnyTransformer {
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
        in_variant(self.variant(), dispatch!(self, model => model.maskable_layers()))
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

impl Transformer for AnyTransformer {
    fn n_layers(&self) -> usize {
        dispatch!(self, model => model.n_layers())
    }

    fn hidden_size(&self) -> usize {
        dispatch!(self, model => model.hidden_size())
    }

    fn sites(&self) -> Vec<Site> {
        dispatch!(self, model => model.sites())
    }

    fn stream_dims(&self, inputs: &ModelInputs) -> Result<[usize; 2], ModelError> {
        dispatch!(self, model => model.stream_dims(inputs))
    }

    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
        dispatch!(self, model => model.context(inputs))
    }

    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        dispatch!(self, model => model.embed(inputs))
    }

    fn block(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Walk {
        dispatch!(self, model => model.block(layer, hidden, context, observer))
    }

    fn after_attention(&self, layer: usize, hidden: Tensor<3>, observer: &mut dyn Observer) -> Walk {
        dispatch!(self, model => model.after_attention(layer, hidden, observer))
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        dispatch!(self, model => model.finish(hidden))
    }

    fn token_logits(&self, last_hidden_state: Tensor<3>) -> Option<Tensor<3>> {
        dispatch!(self, model => model.token_logits(last_hidden_state))
    }

    fn apply_head(&self, last_hidden_state: Tensor<3>, inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        dispatch!(self, model => model.apply_head(last_hidden_state, inputs))
    }
}

#[cfg(test)]
pub(crate) mod tests;
