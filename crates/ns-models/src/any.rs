//! One door to every architecture.

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

/// Declares [`AnyTransformer`]: a variant for each family, with the values of `model_type` that it serves, and the
/// calls that go to whichever family it is.
macro_rules! any_transformer {
    ($($(#[$doc:meta])* $family:ident: $($model_type:literal),+;)+) => {
        /// Values of `model_type` of the transformers.
        const TRANSFORMER_TYPES: &[&str] = &[$($($model_type),+),+];

        /// A transformer of any family, chosen by its `config.json`.
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
            /// A model of zeros after a `config.json`.
            ///
            /// # Errors
            /// [`ModelError::UnknownModelType`], [`ModelError::NoResidualStream`], [`ModelError::InvalidJson`],
            /// [`ModelError::InvalidConfig`].
            pub fn init(config: &Value, device: &Device) -> Result<Self, ModelError> {
                match model_type(config)? {
                    $($($model_type)|+ => Ok(Self::$family($family::from_config(config, device)?)),)+
                    other => Err(no_transformer(other)),
                }
            }

            /// Loads a folder as `save_pretrained` writes it.
            ///
            /// # Errors
            /// [`ModelError::UnknownModelType`] for an architecture that is not built, [`ModelError::NoResidualStream`]
            /// for one that is no transformer, and whatever reading the folder gives.
            pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
                match model_type(&read_config(folder)?)? {
                    $($($model_type)|+ => Ok(Self::$family($family::load(folder, device)?)),)+
                    other => Err(no_transformer(other)),
                }
            }

            /// Loads the base model of a folder, whatever head its checkpoint was saved with.
            ///
            /// # Errors
            /// As [`load`](Self::load).
            pub fn load_base(folder: &Path, device: &Device) -> Result<Self, ModelError> {
                match model_type(&read_config(folder)?)? {
                    $($($model_type)|+ => Ok(Self::$family($family::load_base(folder, device)?)),)+
                    other => Err(no_transformer(other)),
                }
            }

            /// This model with the base model's weights of a folder, as [`Pretrained::with_base_weights`].
            ///
            /// # Errors
            /// Whatever reading the folder gives.
            pub fn with_base_weights(self, folder: &Path) -> Result<Self, ModelError> {
                match self {
                    $(Self::$family(model) => Ok(Self::$family(model.with_base_weights(folder)?)),)+
                }
            }

            fn variant(&self) -> &'static str {
                match self {
                    $(Self::$family(_) => stringify!($family),)+
                }
            }
        }

        /// The same call on whichever family it is.
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
    /// BERT and its relatives.
    Encoder: "bert", "roberta", "ernie", "electra", "mpnet", "convbert";
    /// ViT.
    Vit: "vit";
}

/// Values of `model_type` that are built.
pub fn model_types() -> Vec<&'static str> {
    [TRANSFORMER_TYPES, &[resnet::MODEL_TYPE]].concat()
}

pub(crate) fn model_type(config: &Value) -> Result<&str, ModelError> {
    config["model_type"].as_str().ok_or_else(|| unknown_model_type("(none)"))
}

fn unknown_model_type(found: &str) -> ModelError {
    ModelError::UnknownModelType { found: found.into(), known: model_types().into_iter().map(String::from).collect() }
}

/// Why a model is none of [`AnyTransformer`].
fn no_transformer(model_type: &str) -> ModelError {
    match model_type {
        resnet::MODEL_TYPE => ModelError::NoResidualStream { model_type: model_type.into() },
        other => unknown_model_type(other),
    }
}

impl AnyTransformer {
    /// Writes the folder back; `transformers` loads it unchanged.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        dispatch!(self, model => model.save(folder))
    }

    /// The tensors as the checkpoint has them: HF's names and layouts.
    ///
    /// # Errors
    /// [`ModelError::UnreadableTensor`].
    pub fn tensors(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
        dispatch!(self, model => model.tensors())
    }

    /// The tensors as PyTorch's `state_dict()` has them: those of the checkpoint, and what tied heads repeat.
    ///
    /// # Errors
    /// [`ModelError::UnreadableTensor`].
    pub fn state_dict(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
        dispatch!(self, model => model.state_dict())
    }
}

/// The layers of a module that is the variant of an enum.
pub(crate) fn in_variant(variant: &str, layers: Vec<MaskableLayer>) -> Vec<MaskableLayer> {
    let in_variant = |layer: MaskableLayer| MaskableLayer { path: format!("{variant}.{}", layer.path), ..layer };
    layers.into_iter().map(in_variant).collect()
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
