//! Reads checkpoints: one safetensors file, or shards with an index.
//!
//! Tensors are read from the file one at a time, on request. A memory-mapped file would count towards the memory of the
//! process in addition to the loaded tensors.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, tensor::Metadata};

use crate::checkpoint::HfNames;
use crate::error::ModelError;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Size of the number at the start of a safetensors file: the length of the header.
const LENGTH_BYTES: u64 = 8;

/// An open checkpoint: its tensors by HF name. Their data is read from the files on request.
pub struct Checkpoint {
    tensors: BTreeMap<String, Entry>,
}

/// Location of a tensor's data.
struct Entry {
    file: Arc<OpenFile>,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Offset of the first byte in the file.
    start: u64,
    /// Number of bytes.
    length: usize,
}

struct OpenFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl Checkpoint {
    /// Opens `model.safetensors` or the shards of `model.safetensors.index.json` in `folder`.
    ///
    /// # Errors
    /// - [`ModelError::NoSuchFile`] if the weights or a shard are missing
    /// - [`ModelError::Io`] if a file cannot be read
    /// - [`ModelError::NotSafetensors`] if a file is invalid or truncated
    /// - [`ModelError::InvalidJson`] if the index is invalid
    /// - [`ModelError::UnsafeShard`] if the index names a file outside the folder
    /// - [`ModelError::MissingTensors`] if the shards lack a tensor that the index lists
    pub fn open_folder(folder: impl AsRef<Path>) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
        if single.is_file() {
            return Self::open_file(&single);
        }
        if index.is_file() {
            return Self::open_shards(folder, &index);
        }
        let pickled = PICKLES.iter().any(|name| folder.join(name).exists());
        let hint = "; its pickled weights are not supported, because unpickling runs code: convert them once in Python \
                    with `model.save_pretrained(folder, safe_serialization=True)`";
        Err(ModelError::NoSuchFile {
            folder: folder.into(),
            expected: SINGLE.into(),
            hint: if pickled { hint.into() } else { String::new() },
        })
    }

    /// Opens one safetensors file.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] if the file cannot be read, and [`ModelError::NotSafetensors`] if it is invalid or
    /// truncated.
    pub fn open_file(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let io = |source| ModelError::Io { action: "read", path: path.into(), source };
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let (header, data_start) = read_header(&mut file, size).map_err(|reason| not_safetensors(path, reason))?;
        let open = Arc::new(OpenFile { path: path.into(), file: Mutex::new(file) });
        let entry = |info: &safetensors::tensor::TensorInfo| Entry {
            file: open.clone(),
            dtype: info.dtype,
            shape: info.shape.clone(),
            start: data_start + info.data_offsets.0 as u64,
            length: info.data_offsets.1 - info.data_offsets.0,
        };
        Ok(Self { tensors: header.tensors().into_iter().map(|(name, info)| (name, entry(info))).collect() })
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
            tensors.extend(Self::open_file(folder.join(shard))?.tensors);
        }
        let missing: Vec<_> = weight_map.into_keys().filter(|name| !tensors.contains_key(name)).collect();
        if !missing.is_empty() {
            return Err(ModelError::MissingTensors { names: missing, nearest: None });
        }
        Ok(Self { tensors })
    }

    /// Returns the names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns the shape of a tensor; `None` if there is no tensor of that name.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.tensors.get(name)?.shape.clone())
    }

    /// Reads a tensor in the element type of the file; `None` if there is no tensor of that name.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] if the file cannot be read, [`ModelError::NotSafetensors`] if the data does not match
    /// the shape, and [`ModelError::UnsupportedDtype`] for an element type that Burn does not have.
    pub fn data(&self, name: &str) -> Result<Option<TensorData>, ModelError> {
        self.tensors.get(name).map(|entry| entry.read(name)).transpose()
    }

    /// Reads a float tensor as f32; `None` if there is no tensor of that name.
    ///
    /// # Errors
    /// Returns [`ModelError::UnsupportedDtype`] for a tensor whose elements are not floats, and the
    /// errors of [`data`](Self::data).
    pub fn float_data(&self, name: &str) -> Result<Option<TensorData>, ModelError> {
        let Some(data) = self.data(name)? else {
            return Ok(None);
        };
        if !data.dtype().is_float() {
            return Err(ModelError::UnsupportedDtype { name: name.into(), found: format!("{:?}", data.dtype()) });
        }
        Ok(Some(data.convert_dtype(DType::F32)))
    }

    /// Converts the keys of the checkpoint to those of a model with these names, like HF's `from_pretrained`.
    ///
    /// For a model with a head, the prefix of the base model is added to a checkpoint that was saved without a head.
    /// For a model without a head, the prefix is removed and the tensors of the head are dropped. `gamma` and `beta`,
    /// the names of norm parameters in older files, become `weight` and `bias`.
    pub(crate) fn for_model(self, names: &HfNames) -> Self {
        let prefix = format!("{}.", names.base.1);
        let has_prefix = self.tensors.keys().any(|key| key.starts_with(&prefix));
        let rename = |key: &str| match (names.has_head, has_prefix) {
            (true, false) => Some(format!("{prefix}{key}")),
            (false, true) => key.strip_prefix(&prefix).map(String::from),
            _ => Some(key.into()),
        };
        let tensors = self.tensors.into_iter();
        Self { tensors: tensors.filter_map(|(key, entry)| Some((modern_key(rename(&key)?), entry))).collect() }
    }
}

/// Renames the `gamma` and `beta` of a norm in older checkpoints.
fn modern_key(key: String) -> String {
    match key.rsplit_once('.') {
        Some((norm, "gamma")) => format!("{norm}.weight"),
        Some((norm, "beta")) => format!("{norm}.bias"),
        _ => key,
    }
}

/// Reads the shard of each tensor from an index.
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

/// Whether `name` is a single path component, so that it stays inside the folder.
fn is_plain_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}

impl Entry {
    /// Reads the data of the tensor; `name` is for errors.
    fn read(&self, name: &str) -> Result<TensorData, ModelError> {
        let dtype = burn_dtype(self.dtype)
            .ok_or_else(|| ModelError::UnsupportedDtype { name: name.into(), found: format!("{:?}", self.dtype) })?;
        let mut bytes = vec![0; self.length];
        // A poisoned lock is harmless, because every read seeks first.
        let mut file = self.file.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| ModelError::Io { action: "read", path: self.file.path.clone(), source })?;
        TensorData::try_from_bytes_vec(bytes, self.shape.clone(), dtype)
            .map_err(|error| not_safetensors(&self.file.path, error.to_string()))
    }
}

/// Reads the header of a safetensors file of `size` bytes. Returns it with the offset of the tensor data.
fn read_header(file: &mut File, size: u64) -> Result<(Metadata, u64), String> {
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(|_| format!("it has {size} bytes and no header"))?;
    let length = u64::from_le_bytes(length);
    let start = length.checked_add(LENGTH_BYTES).filter(|start| *start <= size);
    let start = start.ok_or_else(|| format!("its header should have {length} bytes, but the file has {size}"))?;
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(|error| error.to_string())?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| format!("its header is invalid: {error}"))?;
    let expected = start + header.data_len() as u64;
    match expected == size {
        true => Ok((header, start)),
        false => Err(format!("its header requires {expected} bytes, but the file has {size}")),
    }
}

fn burn_dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F64 => Some(DType::F64),
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::I64 => Some(DType::I64),
        Dtype::I32 => Some(DType::I32),
        Dtype::I16 => Some(DType::I16),
        Dtype::I8 => Some(DType::I8),
        Dtype::U64 => Some(DType::U64),
        Dtype::U32 => Some(DType::U32),
        Dtype::U16 => Some(DType::U16),
        Dtype::U8 => Some(DType::U8),
        _ => None,
    }
}

fn not_safetensors(path: &Path, reason: String) -> ModelError {
    ModelError::NotSafetensors { path: path.into(), reason }
}
