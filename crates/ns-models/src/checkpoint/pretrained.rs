//! From a folder to a model and back, the same way for every family.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorData};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Checkpoint, HfNames, load_base_weights, load_weights, save_pretrained, write::hf_tensors};
use crate::config::read_config;
use crate::error::ModelError;
use crate::model::Model;

/// A family whose folders `save_pretrained` of HF writes and `from_pretrained` reads.
pub trait Pretrained: Model {
    /// HF's configuration of the family.
    type Config: Serialize + DeserializeOwned;

    /// HF's other names of fields (`attribute_map`), each with the field that it stands for.
    const ALIASES: &[(&str, &str)] = &[];

    /// A model of zeros, to be filled from a checkpoint or by [`Model::initial_value`].
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`], [`ModelError::UnknownArchitecture`].
    fn init(config: &Self::Config, device: &Device) -> Result<Self, ModelError>;

    /// The configuration.
    fn config(&self) -> &Self::Config;

    /// How the checkpoint calls the parameters.
    fn hf_names(&self) -> HfNames;

    /// Keys of PyTorch's state dict that repeat another tensor and are not in the checkpoint, each with the key that it
    /// repeats: tied heads.
    fn repeated_keys(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Class of the model without a head, for a `config.json` of this family.
    fn base_class(config: &Value) -> &'static str;

    /// The configuration in a `config.json`.
    ///
    /// # Errors
    /// serde's, for a field of another type.
    fn read_config(config: &Value) -> serde_json::Result<Self::Config> {
        let mut config = config.clone();
        for (alias, field) in Self::ALIASES {
            if let (Some(value), None) = (config.get(alias).cloned(), config.get(field)) {
                config[field] = value;
            }
        }
        Self::Config::deserialize(config)
    }

    /// A model of zeros after a `config.json`.
    ///
    /// # Errors
    /// [`ModelError::InvalidJson`], and as [`init`](Self::init).
    fn from_config(config: &Value, device: &Device) -> Result<Self, ModelError> {
        let config = Self::read_config(config)
            .map_err(|error| ModelError::InvalidJson { path: "config.json".into(), reason: error.to_string() })?;
        Self::init(&config, device)
    }

    /// Loads a folder as `save_pretrained` writes it.
    ///
    /// # Errors
    /// As [`read_config`], [`from_config`](Self::from_config), [`Checkpoint::open_folder`] and [`load_weights`].
    fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        load_as(folder, &read_config(folder)?, device)
    }

    /// Loads the base model of a folder, whatever head its checkpoint was saved with; a pooler that is not in the
    /// file is left out.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn load_base(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let mut config = read_config(folder)?;
        config["architectures"] = json!([Self::base_class(&config)]);
        config["add_pooling_layer"] =
            Checkpoint::open_folder(folder)?.names().any(|key| key.contains("pooler.")).into();
        load_as(folder, &config, device)
    }

    /// This model with the base model's weights of a folder, whatever head its checkpoint was saved with; the head
    /// stays as it is.
    ///
    /// # Errors
    /// As [`load_base_weights`].
    fn with_base_weights(self, folder: &Path) -> Result<Self, ModelError> {
        let names = self.hf_names();
        load_base_weights(self, Checkpoint::open_folder(folder)?, &names)
    }

    /// The tensors as the checkpoint has them: HF's names and layouts.
    ///
    /// # Errors
    /// [`ModelError::UnreadableTensor`].
    fn tensors(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
        hf_tensors(self, &self.hf_names())
    }

    /// The tensors as PyTorch's `state_dict()` has them: those of the checkpoint, and what tied heads repeat.
    ///
    /// # Errors
    /// [`ModelError::UnreadableTensor`].
    fn state_dict(&self) -> Result<BTreeMap<String, TensorData>, ModelError> {
        let mut tensors = self.tensors()?;
        for (key, original) in self.repeated_keys() {
            if let Some(data) = tensors.get(&original).cloned() {
                tensors.insert(key, data);
            }
        }
        Ok(tensors)
    }

    /// Writes the folder back; `transformers` loads it unchanged.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    fn save(&self, folder: &Path) -> Result<(), ModelError> {
        let mut config = serde_json::to_value(self.config())
            .map_err(|error| ModelError::InvalidJson { path: folder.join("config.json"), reason: error.to_string() })?;
        config["model_type"] = self.model_type().into();
        config["torch_dtype"] = "float32".into();
        save_pretrained(folder, self, &self.hf_names(), &config)
    }
}

fn load_as<M: Pretrained>(folder: &Path, config: &Value, device: &Device) -> Result<M, ModelError> {
    let model = M::from_config(config, device).map_err(|error| match error {
        ModelError::InvalidJson { reason, .. } => ModelError::InvalidJson { path: folder.join("config.json"), reason },
        other => other,
    })?;
    let names = model.hf_names();
    load_weights(model, Checkpoint::open_folder(folder)?, &names)
}
