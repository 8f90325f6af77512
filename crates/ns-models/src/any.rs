//! One door to every architecture.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Context, Gpt2, Gpt2Config, InitialValue, MaskableLayer, ModelError, ModelInputs, ModelOutput, Observer, Site,
    Transformer, Walk, read_config,
};

/// Values of `model_type` that are built.
pub const MODEL_TYPES: [&str; 1] = ["gpt2"];

/// The same call on whichever family it is.
macro_rules! dispatch {
    ($any:ident, $model:ident => $call:expr) => {
        match $any {
            Self::Gpt2($model) => $call,
        }
    };
}

/// A model of any family, chosen by its `config.json`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum AnyModel {
    /// GPT-2.
    Gpt2(Gpt2),
}

impl AnyModel {
    /// A model of zeros after a `config.json`.
    ///
    /// # Errors
    /// [`ModelError::UnknownModelType`], [`ModelError::InvalidJson`], [`ModelError::InvalidConfig`].
    pub fn init(config: &Value, device: &Device) -> Result<Self, ModelError> {
        match config["model_type"].as_str() {
            Some("gpt2") => {
                let config = Gpt2Config::deserialize(config).map_err(|error| ModelError::InvalidJson {
                    path: "config.json".into(),
                    reason: error.to_string(),
                })?;
                Ok(Self::Gpt2(Gpt2::init(&config, device)?))
            }
            other => Err(unknown_model_type(other)),
        }
    }

    /// Loads a folder as `save_pretrained` writes it.
    ///
    /// # Errors
    /// [`ModelError::UnknownModelType`] for an architecture that is not built, and whatever reading the folder gives.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = read_config(folder)?;
        match config["model_type"].as_str() {
            Some("gpt2") => Ok(Self::Gpt2(Gpt2::load(folder, device)?)),
            other => Err(unknown_model_type(other)),
        }
    }

    /// Writes the folder back; `transformers` loads it unchanged.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        dispatch!(self, model => model.save(folder))
    }
}

fn unknown_model_type(found: Option<&str>) -> ModelError {
    let found = found.unwrap_or("(none)").into();
    ModelError::UnknownModelType { found, known: MODEL_TYPES.map(String::from).into() }
}

impl From<Gpt2> for AnyModel {
    fn from(model: Gpt2) -> Self {
        Self::Gpt2(model)
    }
}

impl Transformer for AnyModel {
    fn model_type(&self) -> &'static str {
        dispatch!(self, model => model.model_type())
    }

    fn n_layers(&self) -> usize {
        dispatch!(self, model => model.n_layers())
    }

    fn hidden_size(&self) -> usize {
        dispatch!(self, model => model.hidden_size())
    }

    fn device(&self) -> Device {
        dispatch!(self, model => model.device())
    }

    fn maskable_layers(&self) -> Vec<MaskableLayer> {
        let (variant, layers) = match self {
            Self::Gpt2(model) => ("Gpt2", model.maskable_layers()),
        };
        let in_variant = |layer: MaskableLayer| MaskableLayer { path: format!("{variant}.{}", layer.path), ..layer };
        layers.into_iter().map(in_variant).collect()
    }

    fn sites(&self) -> Vec<Site> {
        dispatch!(self, model => model.sites())
    }

    fn initial_value(&self, path: &str) -> InitialValue {
        dispatch!(self, model => model.initial_value(path))
    }

    fn dropout(&self) -> f64 {
        dispatch!(self, model => model.dropout())
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        dispatch!(self, model => model.check_inputs(inputs))
    }

    fn context(&self, inputs: &ModelInputs) -> Context {
        dispatch!(self, model => model.context(inputs))
    }

    fn embed(&self, inputs: &ModelInputs) -> Tensor<3> {
        dispatch!(self, model => model.embed(inputs))
    }

    fn block(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Walk {
        dispatch!(self, model => model.block(layer, hidden, context, observer))
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        dispatch!(self, model => model.finish(hidden))
    }

    fn token_logits(&self, last_hidden_state: Tensor<3>) -> Option<Tensor<3>> {
        dispatch!(self, model => model.token_logits(last_hidden_state))
    }

    fn head(&self, last_hidden_state: Tensor<3>, inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        dispatch!(self, model => model.head(last_hidden_state, inputs))
    }
}
