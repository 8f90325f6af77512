//! Mask files: safetensors with the tensor names of the Python NeuroSurgeon, so that either side reads the other's.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use crate::config::CircuitConfig;
use crate::error::CircuitError;
use crate::model::CircuitModel;
use crate::target::MaskTarget;

/// The first bytes of files written by `torch.save`: a zip archive, or PyTorch's old magic number as a pickle. No real
/// safetensors file starts like this: these bytes would be the length of a header of more than 60 MB.
const PICKLES: [&[u8]; 2] = [b"PK\x03\x04", &[0x80, 0x02, 0x8a, 0x0a]];

/// Key of the configuration in the metadata of a file. It is the only key, so that equal circuits have equal files.
const CONFIG: &str = "circuit_config";

/// Writes the mask parameters of `circuit` to a safetensors file.
///
/// The tensors are `f32`, with the keys and shapes of [`CircuitModel::mask_params`]. Magnitude pruning has no mask
/// parameters, so its file has no tensors. The file is written atomically: it is complete, or it does not appear.
///
/// # Errors
/// Returns [`CircuitError::Encode`] if the masks cannot be encoded, and [`CircuitError::Io`] if the file cannot be
/// written.
pub fn save_masks<M: Module>(path: impl AsRef<Path>, circuit: &CircuitModel<M>) -> Result<(), CircuitError> {
    save_masks_with_prefix(path, circuit, "")
}

/// Like [`save_masks`], but adds `prefix` to every key, for example `wrapped_model.` for the state dict of a Python
/// `CircuitModel`. [`CircuitModel::load_mask_params`] ignores `wrapped_model.` prefixes.
///
/// # Errors
/// Returns [`CircuitError::Encode`] if the masks cannot be encoded, and [`CircuitError::Io`] if the file cannot be
/// written.
pub fn save_masks_with_prefix<M: Module>(
    path: impl AsRef<Path>,
    circuit: &CircuitModel<M>,
    prefix: &str,
) -> Result<(), CircuitError> {
    write_masks(path.as_ref(), circuit, prefix, ("format", "pt".into()))
}

impl<M: Module> CircuitModel<M> {
    /// Writes the mask parameters and the configuration to a safetensors file, for [`load`](Self::load). The tensors
    /// are those of [`save_masks`]; the configuration is metadata of the file, in NeuroSurgeon's JSON.
    ///
    /// # Errors
    /// Returns [`CircuitError::Encode`] if the masks cannot be encoded, and [`CircuitError::Io`] if the file cannot be
    /// written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CircuitError> {
        write_masks(path.as_ref(), self, "", (CONFIG, serde_json::json!(self.config()).to_string()))
    }

    /// Reads a file that [`save`](Self::save) wrote, and masks `base` as it says.
    ///
    /// # Errors
    /// - the errors of [`load_masks`]
    /// - [`CircuitError::NoConfiguration`] if the file has no configuration, or none that can be read
    /// - the errors of [`CircuitModel::new`] and [`CircuitModel::load_mask_params`] if the masks do not fit `base`
    pub fn load(path: impl AsRef<Path>, base: M, targets: &[MaskTarget]) -> Result<Self, CircuitError> {
        let path = path.as_ref();
        let bytes = read_bytes(path)?;
        let params = floats(parse_tensors(path, &bytes)?)?;
        let mut circuit = Self::new(parse_config(path, &bytes)?, base, targets)?;
        circuit.load_mask_params(&params)?;
        Ok(circuit)
    }
}

/// The configuration in the metadata of a safetensors file with the content `bytes`.
fn parse_config(path: &Path, bytes: &[u8]) -> Result<CircuitConfig, CircuitError> {
    let none = |reason: String| CircuitError::NoConfiguration { path: path.into(), reason };
    let header = SafeTensors::read_metadata(bytes).ok();
    let config = header.and_then(|(_, header)| header.metadata().as_ref()?.get(CONFIG).cloned());
    let config = config.ok_or_else(|| none("it holds masks only, as `save_masks` writes them".into()))?;
    serde_json::from_str(&config).map_err(|error| none(error.to_string()))
}

fn write_masks<M: Module>(
    path: &Path,
    circuit: &CircuitModel<M>,
    prefix: &str,
    (key, value): (&str, String),
) -> Result<(), CircuitError> {
    let params = circuit.mask_params();
    let mut views = Vec::with_capacity(params.len());
    for (name, data) in &params {
        let view = TensorView::new(Dtype::F32, data.shape().as_slice().to_vec(), data.as_bytes())
            .map_err(|source| CircuitError::Encode { source })?;
        views.push((format!("{prefix}{name}"), view));
    }
    let metadata = HashMap::from([(key.to_string(), value)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|source| CircuitError::Encode { source })?;
    write_atomically(path, &bytes)
}

/// Reads all tensors of a safetensors file as `f32`, for [`CircuitModel::load_mask_params`].
///
/// # Errors
/// - [`CircuitError::FileNotFound`] or [`CircuitError::Io`] if the file cannot be read
/// - [`CircuitError::TruncatedFile`], [`CircuitError::NotSafetensors`] or [`CircuitError::Pickled`] if it is not a
///   complete safetensors file
/// - [`CircuitError::UnsupportedDtype`] for a tensor that is not `f16`, `bf16`, `f32` or `f64`
pub fn load_masks(path: impl AsRef<Path>) -> Result<BTreeMap<String, TensorData>, CircuitError> {
    floats(read_tensors(path.as_ref())?)
}

/// The float tensors of a file; an error if it has others.
fn floats(tensors: Vec<(String, Stored)>) -> Result<BTreeMap<String, TensorData>, CircuitError> {
    let float = |(name, stored)| match stored {
        Stored::Floats(data) => Ok((name, data)),
        Stored::Other(error) => Err(error),
    };
    tensors.into_iter().map(float).collect()
}

/// A tensor in a file.
pub(crate) enum Stored {
    /// A float tensor, converted to `f32`.
    Floats(TensorData),
    /// A tensor of another type, with the error that reading it as floats returns.
    Other(CircuitError),
}

/// Reads the tensors of a safetensors file.
///
/// # Errors
/// Like [`load_masks`], but a tensor that is not a float tensor is returned as [`Stored::Other`].
pub(crate) fn read_tensors(path: &Path) -> Result<Vec<(String, Stored)>, CircuitError> {
    parse_tensors(path, &read_bytes(path)?)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, CircuitError> {
    fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CircuitError::FileNotFound { path: path.into() },
        _ => io_error(path, source),
    })
}

/// The tensors of a safetensors file with the content `bytes`; see [`read_tensors`].
fn parse_tensors(path: &Path, bytes: &[u8]) -> Result<Vec<(String, Stored)>, CircuitError> {
    if PICKLES.iter().any(|start| bytes.starts_with(start)) {
        return Err(CircuitError::Pickled { path: path.into() });
    }
    let file = SafeTensors::deserialize(bytes).map_err(|source| match source {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::MetadataIncompleteBuffer => {
            CircuitError::TruncatedFile { path: path.into(), found: bytes.len() }
        }
        source => CircuitError::NotSafetensors { path: path.into(), source },
    })?;
    let read = |(name, view): (&str, TensorView<'_>)| match read_floats(path, name, &view) {
        Ok(data) => Ok((name.to_string(), Stored::Floats(data))),
        Err(error @ CircuitError::UnsupportedDtype { .. }) => Ok((name.to_string(), Stored::Other(error))),
        Err(error) => Err(error),
    };
    file.iter().map(read).collect()
}

fn read_floats(path: &Path, name: &str, view: &TensorView<'_>) -> Result<TensorData, CircuitError> {
    let dtype = match view.dtype() {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        other => {
            return Err(CircuitError::UnsupportedDtype {
                path: path.into(),
                name: name.to_string(),
                dtype: format!("{other:?}"),
            });
        }
    };
    TensorData::try_from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype)
        .and_then(TensorData::try_cast_as::<f32>)
        .map_err(|source| CircuitError::InvalidValues { name: name.to_string(), message: source.to_string() })
}

/// Writes a temporary file in the folder of `path`, then renames it to `path`.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), CircuitError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = temporary_file().tempfile_in(folder).and_then(|mut file| {
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file.persist(path)?)
    });
    written.map(drop).map_err(|source| io_error(path, source))
}

/// A builder of temporary files with ordinary permissions, so that other users can read the renamed file.
fn temporary_file() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}

fn io_error(path: &Path, source: io::Error) -> CircuitError {
    CircuitError::Io { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CONCRETE, Net, PRUNE, SPARSE, circuit, config, targets, with_method};
    use burn::tensor::Device;

    #[test]
    fn a_saved_circuit_comes_back_with_its_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("circuit.safetensors");
        for method in [SPARSE, CONCRETE, PRUNE] {
            let saved = circuit(&with_method(method));
            saved.save(&path).unwrap();
            let loaded = CircuitModel::load(&path, Net::new(&Device::default().autodiff()), &targets()).unwrap();
            assert_eq!((loaded.config(), loaded.mask_params()), (saved.config(), saved.mask_params()));
            let first = fs::read(&path).unwrap();
            loaded.save(&path).unwrap();
            assert_eq!(fs::read(&path).unwrap(), first);
        }
    }

    #[test]
    fn a_file_without_a_configuration_or_for_another_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("circuit.safetensors");
        let load = |targets: &[MaskTarget]| CircuitModel::load(&path, Net::new(&Device::default()), targets);
        let saved = circuit(&config());
        save_masks(&path, &saved).unwrap();
        let error = load(&targets()).unwrap_err();
        assert!(matches!(error, CircuitError::NoConfiguration { .. }) && error.to_string().contains("masks only"));
        saved.save(&path).unwrap();
        assert!(matches!(load(&targets()[..1]), Err(CircuitError::UnknownLayer { .. })));
        let mut wrong = targets();
        wrong[1].path = "out".into();
        wrong[2].path = "w".into();
        assert!(matches!(
            load(&wrong),
            Err(CircuitError::ShapesMismatch { .. }
                | CircuitError::ShapeMismatch { .. }
                | CircuitError::UnexpectedTensor { .. })
        ));
    }

    #[test]
    fn masks_come_back_and_carry_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masks.safetensors");
        let mut circuit = circuit(&config());
        save_masks(&path, &circuit).unwrap();
        assert_eq!(load_masks(&path).unwrap(), circuit.mask_params());
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "a temporary file was left");

        let bytes = fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");

        save_masks_with_prefix(&path, &circuit, "wrapped_model.wrapped_model.").unwrap();
        let prefixed = load_masks(&path).unwrap();
        assert!(prefixed.keys().all(|k| k.starts_with("wrapped_model.w")));
        circuit.load_mask_params(&prefixed).unwrap();
    }

    #[test]
    fn halves_and_doubles_are_read_as_singles() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let bytes: Vec<u8> = [0.5_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let doubles = TensorView::new(Dtype::F64, vec![2], &bytes).unwrap();
        // 1.0 and -0.5 as bf16
        let bytes = [0x80, 0x3f, 0x00, 0xbf];
        let halves = TensorView::new(Dtype::BF16, vec![2], &bytes).unwrap();
        let file = safetensors::serialize([("d", doubles), ("h", halves)], None).unwrap();
        fs::write(&path, file).unwrap();
        let read = load_masks(&path).unwrap();
        assert_eq!(read["d"].try_to_vec::<f32>().unwrap(), [0.5, -2.0]);
        assert_eq!(read["h"].try_to_vec::<f32>().unwrap(), [1.0, -0.5]);
    }

    #[test]
    fn broken_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        assert!(matches!(load_masks(&path), Err(CircuitError::FileNotFound { .. })));
        save_masks(&path, &circuit(&config())).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in [0, 4, 20, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            let error = load_masks(&path).unwrap_err();
            assert!(matches!(error, CircuitError::TruncatedFile { found, .. } if found == cut), "{cut}: {error}");
        }
        fs::write(&path, "not a tensor in sight, only prose").unwrap();
        assert!(matches!(load_masks(&path), Err(CircuitError::NotSafetensors { .. })));
        for start in PICKLES {
            fs::write(&path, [start, &whole].concat()).unwrap();
            let error = load_masks(&path).unwrap_err();
            assert!(matches!(error, CircuitError::Pickled { .. }), "{error}");
            assert!(error.to_string().contains("safetensors.torch.save_file"), "{error}");
        }
        let ints = TensorView::new(Dtype::I64, vec![1], &[0; 8]).unwrap();
        fs::write(&path, safetensors::serialize([("i", ints)], None).unwrap()).unwrap();
        assert!(matches!(
            load_masks(&path),
            Err(CircuitError::UnsupportedDtype { dtype, .. }) if dtype == "I64"
        ));
        let nowhere = folder.path().join("absent/m");
        assert!(matches!(save_masks(nowhere, &circuit(&config())), Err(CircuitError::Io { .. })));
    }
}
