//! Writing a model folder that `transformers` loads unchanged.

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

use super::weights::{parameters, transpose};
use crate::checkpoint::HfNames;
use crate::error::ModelError;

/// Files that `save_pretrained` of tokenizers, image processors and models leaves beside the weights.
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

/// Writes `config.json` and `model.safetensors` (f32) into `folder`, which is made if need be; each file is whole or
/// not there.
///
/// # Errors
/// [`ModelError::Io`], [`ModelError::UnreadableTensor`].
pub fn save_pretrained<M: Module>(
    folder: &Path,
    module: &M,
    names: &HfNames,
    config: &Value,
) -> Result<(), ModelError> {
    save_folder(folder, &hf_tensors(module, names)?, &format!("{config:#}\n"))
}

/// The tensors of a module as its checkpoint has them: HF's names and layouts.
///
/// # Errors
/// [`ModelError::UnreadableTensor`].
pub(super) fn hf_tensors<M: Module>(module: &M, names: &HfNames) -> Result<BTreeMap<String, TensorData>, ModelError> {
    let mut tensors = BTreeMap::new();
    let transposed = names.transposed(module);
    for tensor in parameters(module) {
        let (path, name) = (tensor.name.clone(), names.name(&tensor.name));
        let data = bridge::into_data(tensor)
            .map_err(|error| ModelError::UnreadableTensor { name: name.clone(), reason: error.to_string() })?;
        if let Some(norm) = name.strip_suffix("running_mean") {
            // PyTorch's batch norms count batches, too; `transformers` would miss the count.
            tensors.insert(format!("{norm}num_batches_tracked"), TensorData::new(vec![0_i64], [0; 0]));
        }
        tensors.insert(name, if transposed.contains(&path) { transpose(data) } else { data });
    }
    Ok(tensors)
}

/// Writes tensors under HF's names and the text of a `config.json` as a model folder, which is made if need be; each
/// file is whole or not there.
///
/// # Errors
/// [`ModelError::Io`].
pub fn save_folder(folder: &Path, tensors: &BTreeMap<String, TensorData>, config: &str) -> Result<(), ModelError> {
    std::fs::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
    save_tensors(&folder.join("model.safetensors"), tensors)?;
    write_atomically(&folder.join("config.json"), config.as_bytes()).map_err(|source| io_error(folder, source))
}

/// Copies what belongs to a model beside its weights (tokenizer, preprocessor, generation settings), as it is.
///
/// # Errors
/// [`ModelError::Io`].
pub fn copy_companions(from: &Path, to: &Path) -> Result<Vec<&'static str>, ModelError> {
    let present = COMPANIONS.into_iter().filter(|name| from.join(name).is_file());
    let copy = |name: &'static str| {
        let bytes = std::fs::read(from.join(name)).map_err(|source| ModelError::Io {
            action: "read",
            path: from.join(name),
            source,
        })?;
        write_atomically(&to.join(name), &bytes).map_err(|source| io_error(&to.join(name), source))?;
        Ok(name)
    };
    present.map(copy).collect()
}

/// Writes tensors as f32 (or i64, for integers) to a safetensors file, whole or not at all.
///
/// # Errors
/// [`ModelError::Io`].
pub fn save_tensors(path: &Path, tensors: &BTreeMap<String, TensorData>) -> Result<(), ModelError> {
    let as_stored = |data: &TensorData| match data.dtype().is_float() {
        true => (Dtype::F32, data.clone().convert_dtype(DType::F32)),
        false => (Dtype::I64, data.clone().convert_dtype(DType::I64)),
    };
    let stored: Vec<_> = tensors.iter().map(|(name, data)| (name, as_stored(data))).collect();
    let invalid = |error: safetensors::SafeTensorError| io_error(path, std::io::Error::other(error));
    let views = stored.iter().map(|(name, (dtype, data))| {
        TensorView::new(*dtype, data.shape().to_vec(), data.as_bytes()).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    // `transformers` refuses files that do not say for which framework they were written.
    let metadata = [("format".to_string(), "pt".to_string())].into();
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(invalid)?;
    write_atomically(path, &bytes).map_err(|source| io_error(path, source))
}

/// Writes a temporary file in the folder of `path` and renames it, so that nobody ever reads half of a file.
///
/// # Errors
/// Those of the file system, for example when the folder cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = temporary_file().tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A temporary file that other users may read, as they may read other files.
fn temporary_file() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}

fn io_error(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io { action: "write", path: PathBuf::from(path), source }
}
