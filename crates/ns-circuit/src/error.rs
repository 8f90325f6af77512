//! The error type of this crate.

use std::path::PathBuf;

use crate::ablation::Ablation;
use crate::target::LayerKind;

/// An error of building, ablating, loading, saving or comparing circuits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CircuitError {
    /// A configuration field has an invalid value.
    #[error("invalid circuit configuration: {field}: {message}")]
    InvalidConfig {
        /// JSON name of the field.
        field: &'static str,
        /// The value found and the values allowed.
        message: String,
    },

    /// The requested layer is not among the targets, or has no mask.
    #[error("unknown layer {asked:?}: expected a masked or maskable layer{}", nearest_names(.nearest))]
    UnknownLayer {
        /// The requested name or pattern.
        asked: String,
        /// The most similar existing names, best first.
        nearest: Vec<String>,
    },

    /// A layer or tensor is named twice.
    #[error("{name:?} is named twice in {place}")]
    DuplicateLayer {
        /// The repeated name.
        name: String,
        /// The list that contains the name twice.
        place: &'static str,
    },

    /// Two selected layers share one parameter, which can have only one mask.
    #[error("layers {first:?} and {second:?} share the parameter {path:?}, which can have only one mask")]
    SharedParameter {
        /// The layer that was selected first.
        first: String,
        /// The layer that was selected second.
        second: String,
        /// Path of the parameter in the module.
        path: String,
    },

    /// The module has no parameter at the path of a target.
    #[error("layer {layer:?}: the module has no parameter {path:?}{}", nearest_names(.nearest))]
    ParameterNotFound {
        /// Name of the layer.
        layer: String,
        /// The path that does not exist.
        path: String,
        /// The most similar parameter paths, best first.
        nearest: Vec<String>,
    },

    /// The rank of a parameter does not match the layer kind of its target.
    #[error("layer {layer:?} of kind {kind}: expected {path:?} to have {expected} dimensions, found shape {found:?}")]
    RankMismatch {
        /// Name of the layer.
        layer: String,
        /// The layer kind that the target declares.
        kind: LayerKind,
        /// Path of the parameter in the module.
        path: String,
        /// Number of dimensions that the layer kind requires.
        expected: usize,
        /// Shape of the parameter in Burn.
        found: Vec<usize>,
    },

    /// The parameter already has a reparameterization, such as a mask or a LoRA adapter.
    #[error(
        "layer {layer:?}: parameter {path:?} already has a reparameterization; call materialize() on the module first"
    )]
    AlreadyReparameterized {
        /// Name of the layer.
        layer: String,
        /// Path of the parameter in the module.
        path: String,
    },

    /// An ablation is set, or was requested, in training mode.
    #[error(
        "the ablation {ablation} cannot be used in training mode; use the copy that valid() returns, or set the \
         variant to CircuitOnly"
    )]
    AblationWhileTraining {
        /// The ablation that is set or requested.
        ablation: Ablation,
    },

    /// The temperature is negative or not finite.
    #[error("temperature must be finite and at least 0, found {found}")]
    InvalidTemperature {
        /// The invalid temperature.
        found: f32,
    },

    /// [`Ablation::ComplementSampled`] needs at least as many entries outside the circuit as inside it.
    #[error(
        "{layer}: complement_sampled needs {circuit} entries outside the circuit, as many as are in it, found \
         {complement}"
    )]
    ComplementTooSmall {
        /// Name of the parameter, `<layer>.weight` or `<layer>.bias`.
        layer: String,
        /// Number of mask entries (weights or neurons) in the circuit.
        circuit: usize,
        /// Number of mask entries outside the circuit.
        complement: usize,
    },

    /// A required tensor is missing.
    #[error("missing tensor {name:?}{}", nearest_names(.nearest))]
    MissingTensor {
        /// Name of the missing tensor.
        name: String,
        /// The most similar names that are present, best first.
        nearest: Vec<String>,
    },

    /// A tensor does not belong to any mask of the model.
    #[error("unexpected tensor {name:?}: no mask of this model has that name{}", nearest_names(.nearest))]
    UnexpectedTensor {
        /// Name of the tensor.
        name: String,
        /// The most similar names in this model, best first.
        nearest: Vec<String>,
    },

    /// A tensor has the wrong shape.
    #[error("{name:?}: expected shape {expected:?}, found {found:?}")]
    ShapeMismatch {
        /// Name of the tensor.
        name: String,
        /// The expected shape.
        expected: Vec<usize>,
        /// The actual shape.
        found: Vec<usize>,
    },

    /// Several tensors have the wrong shape, for example because the masks belong to another model.
    #[error("the masks do not fit this model: {}", list_misfits(.misfits))]
    ShapesMismatch {
        /// All tensors with a wrong shape.
        misfits: Vec<Misfit>,
    },

    /// Two circuits mask parameters of different shapes.
    #[error("the two circuits belong to different models: {}", list_differences(.misfits))]
    CircuitsDiffer {
        /// All parameters that differ. `expected` is the shape in the first circuit, `found` the shape in the second.
        misfits: Vec<Misfit>,
    },

    /// A file contains no mask parameters.
    #[error(
        "{}: no tensor is a mask parameter (`<layer>.weight_mask_params`), so this is not the state dict of a \
         circuit; found {}",
        path.display(), list_keys(.keys)
    )]
    NoMasks {
        /// Path of the file.
        path: PathBuf,
        /// The first few tensor names of the file.
        keys: Vec<String>,
    },

    /// A file was written with `torch.save`.
    #[error(
        "{}: this is a pickle file, which is not supported because unpickling can run code; convert it once in \
         Python: `safetensors.torch.save_file({{name: tensor.clone() for name, tensor in \
         model.state_dict().items()}}, \"state_dict.safetensors\")`",
        path.display()
    )]
    Pickled {
        /// Path of the file.
        path: PathBuf,
    },

    /// A tensor has invalid values.
    #[error("{name:?}: {message}")]
    InvalidValues {
        /// Name of the tensor.
        name: String,
        /// The values found and the values allowed.
        message: String,
    },

    /// Noise was injected into masks that do not use noise.
    #[error("only hard_concrete masks use noise; the masks of this model use {method}")]
    NoiseUnused {
        /// The mask method of the model.
        method: &'static str,
    },

    /// A file of masks has no configuration.
    #[error(
        "{}: no circuit configuration: {reason}; build the circuit from its configuration and load the masks into it, \
         or write the file with `CircuitModel::save`",
        path.display()
    )]
    NoConfiguration {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },

    /// A loss has no gradient.
    #[error(
        "the loss depends on no trainable parameter: load the model on a device with autodiff \
         (`Device::default().autodiff()`), and train in training mode with masks that are on and not frozen"
    )]
    NoGradient,

    /// A file does not exist.
    #[error("{}: no such file", path.display())]
    FileNotFound {
        /// Path of the file.
        path: PathBuf,
    },

    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },

    /// A safetensors file ends before all tensors that its header lists.
    #[error("{}: truncated safetensors file ({found} bytes)", path.display())]
    TruncatedFile {
        /// Path of the file.
        path: PathBuf,
        /// Size of the file in bytes.
        found: usize,
    },

    /// A file is not a safetensors file.
    #[error("{}: not a safetensors file: {source}", path.display())]
    NotSafetensors {
        /// Path of the file.
        path: PathBuf,
        /// The error of the safetensors parser.
        source: safetensors::SafeTensorError,
    },

    /// The masks could not be encoded as safetensors.
    #[error("cannot encode masks as safetensors: {source}")]
    Encode {
        /// The error of the safetensors writer.
        source: safetensors::SafeTensorError,
    },

    /// A stored tensor does not have a float type.
    #[error("{}: {name:?} has dtype {dtype}; expected f16, bf16, f32 or f64", path.display())]
    UnsupportedDtype {
        /// Path of the file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Type of the tensor in the file.
        dtype: String,
    },

    /// A golden mask case is invalid.
    #[error("mask case: {message}")]
    InvalidCase {
        /// What the case contains and what is allowed.
        message: String,
    },
}

/// A tensor with the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Name of the tensor.
    pub name: String,
    /// The expected shape.
    pub expected: Vec<usize>,
    /// The actual shape.
    pub found: Vec<usize>,
}

/// Number of misfits that an error message lists.
const SHOWN: usize = 5;

fn list_misfits(misfits: &[Misfit]) -> String {
    list(misfits, |m| format!("{:?} has shape {:?}, expected {:?}", m.name, m.found, m.expected))
}

fn list_differences(misfits: &[Misfit]) -> String {
    list(misfits, |m| format!("{:?} has shape {:?} in the first and {:?} in the second", m.name, m.expected, m.found))
}

fn list(misfits: &[Misfit], describe: impl Fn(&Misfit) -> String) -> String {
    let shown: Vec<String> = misfits.iter().take(SHOWN).map(describe).collect();
    match misfits.len().saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

fn list_keys(keys: &[String]) -> String {
    if keys.is_empty() { "no tensors".to_string() } else { format!("{}, …", keys.join(", ")) }
}

fn nearest_names(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        [one] => format!(" (did you mean {one:?}?)"),
        many => format!(" (nearest: {})", many.join(", ")),
    }
}
