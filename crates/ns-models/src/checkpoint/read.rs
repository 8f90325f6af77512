//! A checkpoint on disk: one safetensors file or a sharded index.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use burn::store::{ModuleStore, SafetensorsStore, SafetensorsStoreError, bridge, burn_pack};
use burn::tensor::{DType, TensorData};

use crate::{HfNames, ModelError};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// The tensors of a checkpoint by HF name; their data stay in the (memory-mapped) files until asked for.
pub struct Checkpoint {
    tensors: BTreeMap<String, Entry>,
}

struct Entry {
    tensor: burn_pack::Tensor,
    file: PathBuf,
}

impl Checkpoint {
    /// Opens `model.safetensors` or the shards of `model.safetensors.index.json` in `folder`.
    ///
    /// # Errors
    /// [`ModelError::NoSuchFile`], [`ModelError::NotSafetensors`], [`ModelError::InvalidJson`],
    /// [`ModelError::UnsafeShard`], [`ModelError::MissingTensors`] for a tensor that the index promises and its shard
    /// lacks.
    pub fn open_folder(folder: &Path) -> Result<Self, ModelError> {
        let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
        if single.is_file() {
            return Self::open_file(&single);
        }
        if index.is_file() {
            return Self::open_shards(folder, &index);
        }
        let pickled = PICKLES.iter().any(|name| folder.join(name).exists());
        let hint = "; its pickled weights are not read, because unpickling runs code: convert them once in Python with \
                    `model.save_pretrained(folder, safe_serialization=True)`";
        Err(ModelError::NoSuchFile {
            folder: folder.into(),
            expected: SINGLE.into(),
            hint: if pickled { hint.into() } else { String::new() },
        })
    }

    /// Opens one safetensors file.
    ///
    /// # Errors
    /// [`ModelError::Io`] or [`ModelError::NotSafetensors`].
    pub fn open_file(path: &Path) -> Result<Self, ModelError> {
        let mut store = SafetensorsStore::from_file(path);
        let tensors = store.get_all_tensors().map_err(|error| read_error(path, error))?;
        let entry = |tensor: &burn_pack::Tensor| Entry { tensor: tensor.clone(), file: path.into() };
        Ok(Self { tensors: tensors.iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect() })
    }

    fn open_shards(folder: &Path, index: &Path) -> Result<Self, ModelError> {
        let weight_map = read_weight_map(index)?;
        let mut tensors = BTreeMap::new();
        for shard in weight_map.values().collect::<BTreeSet<_>>() {
            if !is_plain_file_name(shard) {
                return Err(ModelError::UnsafeShard { index: index.into(), shard: shard.clone() });
            }
            if !folder.join(shard).is_file() {
                let hint = format!("; {INDEX} names it");
                return Err(ModelError::NoSuchFile { folder: folder.into(), expected: shard.clone(), hint });
            }
            tensors.extend(Self::open_file(&folder.join(shard))?.tensors);
        }
        let missing: Vec<_> = weight_map.into_keys().filter(|name| !tensors.contains_key(name)).collect();
        if !missing.is_empty() {
            return Err(ModelError::MissingTensors { names: missing, nearest: None });
        }
        Ok(Self { tensors })
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Shape of a tensor, if there is one of that name.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.tensors.get(name)?.tensor.shape.to_vec())
    }

    /// Reads a tensor as it lies in the file, if there is one of that name.
    ///
    /// # Errors
    /// [`ModelError::NotSafetensors`] when its bytes cannot be read.
    pub fn data(&self, name: &str) -> Result<Option<TensorData>, ModelError> {
        let Some(Entry { tensor, file }) = self.tensors.get(name) else {
            return Ok(None);
        };
        let data = bridge::to_data(tensor)
            .map_err(|error| ModelError::NotSafetensors { path: file.clone(), reason: error.to_string() })?;
        Ok(Some(data))
    }

    /// Reads a tensor as f32, if there is one of that name.
    ///
    /// # Errors
    /// [`ModelError::UnsupportedDtype`] for integers and the like, or as [`data`](Self::data).
    pub fn float_data(&self, name: &str) -> Result<Option<TensorData>, ModelError> {
        let Some(data) = self.data(name)? else {
            return Ok(None);
        };
        if !data.dtype().is_float() {
            return Err(ModelError::UnsupportedDtype { name: name.into(), found: format!("{:?}", data.dtype()) });
        }
        Ok(Some(data.convert_dtype(DType::F32)))
    }

    /// The same under the keys that a model with these names has: the prefix of the base model is added where a
    /// model with a head reads a bare base model's file, and taken away (with all that is the head's) in the other
    /// case, as `from_pretrained` does. Older files call the parameters of norms gamma and beta.
    pub(crate) fn for_model(self, names: &HfNames) -> Self {
        let prefix = format!("{}.", names.base.1);
        let has_prefix = self.tensors.keys().any(|key| key.starts_with(&prefix));
        let rename = |key: &str| match (names.has_head, has_prefix) {
            (true, false) => Some(format!("{prefix}{key}")),
            (false, true) => key.strip_prefix(&prefix).map(String::from),
            _ => Some(key.into()),
        };
        let tensors = self.tensors.into_iter();
        Self { tensors: tensors.filter_map(|(key, entry)| Some((modern(rename(&key)?), entry))).collect() }
    }
}

fn modern(key: String) -> String {
    match key.rsplit_once('.') {
        Some((norm, "gamma")) => format!("{norm}.weight"),
        Some((norm, "beta")) => format!("{norm}.bias"),
        _ => key,
    }
}

fn read_weight_map(index: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(index).map_err(|source| ModelError::Io {
        action: "read",
        path: index.into(),
        source,
    })?;
    let index: Index = serde_json::from_str(&text)
        .map_err(|error| ModelError::InvalidJson { path: index.into(), reason: error.to_string() })?;
    Ok(index.weight_map)
}

fn is_plain_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}

fn read_error(path: &Path, error: SafetensorsStoreError) -> ModelError {
    match error {
        SafetensorsStoreError::Io(source) => ModelError::Io { action: "read", path: path.into(), source },
        other => ModelError::NotSafetensors { path: path.into(), reason: other.to_string() },
    }
}
