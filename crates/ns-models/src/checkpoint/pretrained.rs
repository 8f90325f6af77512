//! The [`Pretrained`] trait: loading and saving model folders, for every family.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorData};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Checkpoint, load_base_weights, load_weights, save_pretrained, write::hf_tensors};
use crate::config::read_config;
use crate::error::ModelError;
use crate::model::Model;

/// A model family that is loaded from and saved to HF model folders, like HF's `from_pretrained` and `save_pretrained`.
pub trait Pretrained: Model {
    /// The configuration of the family.
    type Config: Serialize + DeserializeOwned;

    /// Values of `model_type` that select the family.
    const MODEL_TYPES: &[&str];

    /// Alternative names of configuration fields, each with the field that it stands for: HF's `attribute_map`.
    const ALIASES: &[(&str, &str)] = &[];

    /// Creates a model with placeholder parameters, to be loaded from a checkpoint or initialised as
    /// [`Model::initial_value`] says.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidConfig`] for an invalid configuration and [`ModelError::UnknownArchitecture`] for
    /// an unknown class.
    fn init(config: &Self::Config, device: &Device) -> Result<Self, ModelError>;

    /// Returns the configuration.
    fn config(&self) -> &Self::Config;

    /// Returns the [values of `model_type`](Self::MODEL_TYPES) that select the family.
    fn model_types() -> Vec<&'static str> {
        Self::MODEL_TYPES.to_vec()
    }

    /// Returns the HF class of the model without a head, for a `config.json` of this family.
    fn base_class(config: &Value) -> &'static str;

    /// Reads the configuration from a `config.json`.
    ///
    /// # Errors
    /// Returns serde's error for a field of the wrong type.
    fn read_config(config: &Value) -> serde_json::Result<Self::Config> {
        let mut config = config.clone();
        for (alias, field) in Self::ALIASES {
            if let (Some(value), None) = (config.get(alias).cloned(), config.get(field)) {
                config[field] = value;
            }
        }
        Self::Config::deserialize(config)
    }

    /// Creates a model with placeholder parameters from a `config.json`.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidJson`] for a field of the wrong type and the errors of [`init`](Self::init).
    fn from_config(config: &Value, device: &Device) -> Result<Self, ModelError> {
        let config = Self::read_config(config)
            .map_err(|error| ModelError::InvalidJson { path: "config.json".into(), reason: error.to_string() })?;
        Self::init(&config, device)
    }

    /// Loads a model from a folder in the layout of HF's `save_pretrained`.
    ///
    /// # Errors
    /// Returns the errors of [`read_config`], [`from_config`](Self::from_config), [`Checkpoint::open_folder`] and
    /// [`load_weights`].
    fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        load_as(folder, &read_config(folder)?, |config| Self::from_config(config, device))
    }

    /// Loads the model without its head from a folder whose checkpoint has any head or none. The model has a pooler
    /// only if the checkpoint has one.
    ///
    /// # Errors
    /// Returns the errors of [`load`](Self::load).
    fn load_base(folder: impl AsRef<Path>, device: &Device) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        let mut config = read_config(folder)?;
        config["architectures"] = json!([Self::base_class(&config)]);
        config["add_pooling_layer"] =
            Checkpoint::open_folder(folder)?.names().any(|key| key.contains("pooler.")).into();
        load_as(folder, &config, |config| Self::from_config(config, device))
    }

    /// Loads the weights of the base model from a folder whose checkpoint has any head or none. The head of this model
    /// keeps its parameters.
    ///
    /// # Errors
    /// Returns the errors of [`Checkpoint::open_folder`] and [`load_base_weights`].
    fn with_base_weights(self, folder: impl AsRef<Path>) -> Result<Self, ModelError> {
        let names = self.hf_names();
        load_base_weights(self, Checkpoint::open_folder(folder)?, &names)
    }

    /// Returns the tensors as the checkpoint stores them: by HF name, in HF's layout.
    ///
    /// # Errors
    /// Returns [`ModelError::UnreadableTensor`] if a parameter cannot be read from its device.
    fn tensors(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
        hf_tensors(self, &self.hf_names())
    }

    /// Returns the tensors of PyTorch's `state_dict()`: those of the checkpoint and the
    /// [repeated keys](crate::HfNames::repeated_keys).
    ///
    /// # Errors
    /// Returns [`ModelError::UnreadableTensor`] if a parameter cannot be read from its device.
    fn state_dict(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
        let mut tensors = self.tensors()?;
        for (key, original) in self.hf_names().repeated_keys {
            if let Some(data) = tensors.get(&original).cloned() {
                tensors.insert(key, data);
            }
        }
        Ok(tensors)
    }

    /// Saves the model as a folder that `transformers` can load.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] if a file cannot be written, [`ModelError::UnreadableTensor`] if a parameter cannot
    /// be read from its device, and [`ModelError::InvalidJson`] if the configuration cannot be serialised.
    fn save(&self, folder: impl AsRef<Path>) -> Result<(), ModelError> {
        let folder = folder.as_ref();
        let mut config = serde_json::to_value(self.config())
            .map_err(|error| ModelError::InvalidJson { path: folder.join("config.json"), reason: error.to_string() })?;
        config["model_type"] = self.model_type().into();
        config["torch_dtype"] = "float32".into();
        save_pretrained(folder, self, &self.hf_names(), &config)
    }
}

/// Creates a model from a configuration and loads its weights from a folder.
pub(crate) fn load_as<M: Model>(
    folder: &Path,
    config: &Value,
    init: impl FnOnce(&Value) -> Result<M, ModelError>,
) -> Result<M, ModelError> {
    let model = init(config).map_err(|error| match error {
        ModelError::InvalidJson { reason, .. } => ModelError::InvalidJson { path: folder.join("config.json"), reason },
        other => other,
    })?;
    let names = model.hf_names();
    load_weights(model, Checkpoint::open_folder(folder)?, &names)
}
