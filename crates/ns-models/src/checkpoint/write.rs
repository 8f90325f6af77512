//! Writes model folders that `transformers` can load.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use burn::module::Module;
use burn::store::bridge;
use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::weights::{parameters, transpose};
use crate::checkpoint::HfNames;
use crate::error::ModelError;

/// Files that `save_pretrained` of tokenizers, image processors and models writes next to the weights.
const COMPANIONS: [&str; 17] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "feature_extractor_config.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

/// Writes the parameters of a module and its configuration as a model folder: `model.safetensors` (f32) and
/// `config.json`. The folder is created if it does not exist, and each file is written atomically.
///
/// # Errors
/// Returns [`ModelError::Io`] if a file cannot be written, and [`ModelError::UnreadableTensor`] if a parameter cannot
/// be read from its device.
pub fn save_pretrained<M: Module>(
    folder: impl AsRef<Path>,
    module: &M,
    names: &HfNames,
    config: &Value,
) -> Result<(), ModelError> {
    save_folder(folder, &hf_tensors(module, names)?, &format!("{config:#}\n"))
}

/// Returns the tensors of a module as its checkpoint stores them: by HF name, in HF's layout.
///
/// # Errors
/// Returns [`ModelError::UnreadableTensor`] if a parameter cannot be read from its device.
pub(super) fn hf_tensors<M: Module>(module: &M, names: &HfNames) -> Result<BTreeMap<String, TensorData>, ModelError> {
    let mut tensors = BTreeMap::new();
    let transposed = names.transposed(module);
    for tensor in parameters(module) {
        let (path, name) = (tensor.name.clone(), names.name(&tensor.name));
        let data = bridge::into_data(tensor)
            .map_err(|error| ModelError::UnreadableTensor { name: name.clone(), reason: error.to_string() })?;
        if let Some(norm) = name.strip_suffix("running_mean") {
            // Batch counter of PyTorch's batch norms, which `transformers` expects in the file.
            tensors.insert(format!("{norm}num_batches_tracked"), TensorData::new(vec![0_i64], [0; 0]));
        }
        tensors.insert(name, if transposed.contains(&path) { transpose(data) } else { data });
    }
    Ok(tensors)
}

/// Writes a model folder: tensors by HF name as `model.safetensors`, and the text `config` as `config.json`. The folder
/// is created if it does not exist, and each file is written atomically.
///
/// # Errors
/// Returns [`ModelError::Io`] if a file cannot be written.
pub fn save_folder(
    folder: impl AsRef<Path>,
    tensors: &BTreeMap<String, TensorData>,
    config: &str,
) -> Result<(), ModelError> {
    let folder = folder.as_ref();
    std::fs::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
    save_tensors(folder.join("model.safetensors"), tensors)?;
    write_atomically(folder.join("config.json"), config.as_bytes()).map_err(|source| io_error(folder, source))
}

/// Copies the files of a model folder other than weights and configuration: tokenizer, image processor and generation
/// settings. Returns the names of the copied files.
///
/// # Errors
/// Returns [`ModelError::Io`] if a file cannot be read or written.
pub fn copy_companions(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Vec<&'static str>, ModelError> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let present = COMPANIONS.into_iter().filter(|name| from.join(name).is_file());
    let copy = |name: &'static str| {
        let bytes = std::fs::read(from.join(name)).map_err(|source| ModelError::Io {
            action: "read",
            path: from.join(name),
            source,
        })?;
        write_atomically(to.join(name), &bytes).map_err(|source| io_error(&to.join(name), source))?;
        Ok(name)
    };
    present.map(copy).collect()
}

/// Writes tensors to a safetensors file, atomically: floats as f32, integers as i64.
///
/// # Errors
/// Returns [`ModelError::Io`] if the file cannot be written.
pub fn save_tensors(path: impl AsRef<Path>, tensors: &BTreeMap<String, TensorData>) -> Result<(), ModelError> {
    let path = path.as_ref();
    let converted = |data: &TensorData| match data.dtype().is_float() {
        true => (Dtype::F32, data.clone().convert_dtype(DType::F32)),
        false => (Dtype::I64, data.clone().convert_dtype(DType::I64)),
    };
    let stored: Vec<_> = tensors.iter().map(|(name, data)| (name, converted(data))).collect();
    let invalid = |error: safetensors::SafeTensorError| io_error(path, std::io::Error::other(error));
    let views = stored.iter().map(|(name, (dtype, data))| {
        TensorView::new(*dtype, data.shape().to_vec(), data.as_bytes()).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    // `transformers` rejects files whose metadata does not name a framework.
    let metadata = [("format".to_string(), "pt".to_string())].into();
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(invalid)?;
    write_atomically(path, &bytes).map_err(|source| io_error(path, source))
}

/// Writes a file atomically: a temporary file in the folder of `path` is written and then renamed, so no reader sees a
/// partial file.
///
/// # Errors
/// Returns an error of the file system, for example if the folder is not writable.
pub fn write_atomically(path: impl AsRef<Path>, bytes: &[u8]) -> std::io::Result<()> {
    let path = path.as_ref();
    let mut file = temporary_file_for(path)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A temporary file in the folder of `path`, with the usual permissions of new files instead of owner-only ones.
pub(super) fn temporary_file_for(path: &Path) -> std::io::Result<NamedTempFile> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

fn io_error(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io { action: "write", path: PathBuf::from(path), source }
}
