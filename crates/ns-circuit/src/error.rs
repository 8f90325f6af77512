//! The one error type of this crate.

use std::path::PathBuf;

use crate::ablation::Ablation;
use crate::target::LayerKind;

/// What can go wrong when a circuit is built, ablated, loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CircuitError {
    /// A field of the configuration has a value that cannot be used.
    #[error("invalid circuit configuration: {field}: {message}")]
    InvalidConfig {
        /// The field, by its JSON name.
        field: &'static str,
        /// What was found and what would be right.
        message: String,
    },

    /// A layer was asked for that is not among the targets, or is not masked.
    #[error("no layer {asked:?} that can be masked{}", nearest_names(.nearest))]
    UnknownLayer {
        /// The name as given.
        asked: String,
        /// The most similar names that exist, best first.
        nearest: Vec<String>,
    },

    /// A layer is named twice.
    #[error("layer {name:?} is named twice in {place}")]
    DuplicateLayer {
        /// The repeated name.
        name: String,
        /// Where it was repeated.
        place: &'static str,
    },

    /// Two selected layers share one parameter, which can carry one mask only.
    #[error("layers {first:?} and {second:?} are the same parameter {path:?}, which can carry one mask only")]
    SharedParameter {
        /// The layer that claimed the parameter first.
        first: String,
        /// The layer that claimed it again.
        second: String,
        /// The parameter's path in the module.
        path: String,
    },

    /// A target's path leads to no parameter of the module.
    #[error("layer {layer:?}: the module has no parameter {path:?}{}", nearest_names(.nearest))]
    ParameterNotFound {
        /// The layer's name.
        layer: String,
        /// The path that was looked up.
        path: String,
        /// The most similar parameter paths, best first.
        nearest: Vec<String>,
    },

    /// A parameter's rank does not fit the layer kind that the target claims.
    #[error(
        "layer {layer:?} is declared {kind}, whose weight has {expected} dimensions, but {path:?} has shape {found:?}"
    )]
    RankMismatch {
        /// The layer's name.
        layer: String,
        /// The declared kind.
        kind: LayerKind,
        /// The parameter's path in the module.
        path: String,
        /// Number of dimensions of such a weight.
        expected: usize,
        /// Shape of the parameter as stored.
        found: Vec<usize>,
    },

    /// The parameter already carries a reparameterization (a mask, a LoRA adapter).
    #[error("layer {layer:?}: parameter {path:?} already carries a reparameterization; materialize the module first")]
    AlreadyReparameterized {
        /// The layer's name.
        layer: String,
        /// The parameter's path in the module.
        path: String,
    },

    /// An ablation is in force, or was asked for, in training mode.
    #[error(
        "can't ablate while training: {ablation} was asked for; use the model's valid() copy, or set the ablation to none"
    )]
    AblationWhileTraining {
        /// The ablation in question.
        ablation: Ablation,
    },

    /// A temperature must be finite and not negative.
    #[error("temperature must be finite and at least 0, found {found}")]
    InvalidTemperature {
        /// The value as given.
        found: f32,
    },

    /// `complement_sampled` needs as many entries outside the circuit as inside.
    #[error(
        "{layer}: cannot sample {circuit} entries outside a circuit of {circuit}: its complement has only {complement}"
    )]
    ComplementTooSmall {
        /// The parameter, `<layer>.weight` or `<layer>.bias`.
        layer: String,
        /// Entries (weights or neurons) in the circuit.
        circuit: usize,
        /// Entries outside it.
        complement: usize,
    },

    /// A mask parameter, or a noise tensor, that must be given is absent.
    #[error("missing {name:?}{}", nearest_names(.nearest))]
    MissingTensor {
        /// The name that was expected.
        name: String,
        /// The most similar names that were given, best first.
        nearest: Vec<String>,
    },

    /// A tensor was given that belongs to no mask of this model.
    #[error("left-over {name:?}: no mask of this model has that name{}", nearest_names(.nearest))]
    UnexpectedTensor {
        /// The name as given.
        name: String,
        /// The most similar names of this model, best first.
        nearest: Vec<String>,
    },

    /// A tensor has the wrong shape.
    #[error("{name:?}: expected shape {expected:?}, found {found:?}")]
    ShapeMismatch {
        /// Name of the tensor.
        name: String,
        /// The shape that fits.
        expected: Vec<usize>,
        /// The shape as given.
        found: Vec<usize>,
    },

    /// Several tensors have the wrong shape, as those of another model have.
    #[error("these masks are not this model's: {}", list_misfits(.misfits))]
    ShapesMismatch {
        /// All tensors that do not fit.
        misfits: Vec<Misfit>,
    },

    /// Two circuits are over parameters of different shapes.
    #[error("the two circuits are over different models: {}", list_differences(.misfits))]
    CircuitsDiffer {
        /// All parameters that differ: expected is the first circuit's shape, found is the second's.
        misfits: Vec<Misfit>,
    },

    /// A file has no mask at all.
    #[error(
        "{}: no tensor is a mask parameter (`<layer>.weight_mask_params`); it is no circuit's state dict, but has {}",
        path.display(), list_keys(.keys)
    )]
    NoMasks {
        /// The path as given.
        path: PathBuf,
        /// Some names that it has.
        keys: Vec<String>,
    },

    /// A file of `torch.save`.
    #[error(
        "{}: a pickle, which is not read, because unpickling runs code; convert it once in Python: \
         `safetensors.torch.save_file({{name: tensor.clone() for name, tensor in model.state_dict().items()}}, \
         \"state_dict.safetensors\")`",
        path.display()
    )]
    Pickled {
        /// The path as given.
        path: PathBuf,
    },

    /// A tensor holds values that cannot be used.
    #[error("{name:?}: {message}")]
    InvalidValues {
        /// Name of the tensor.
        name: String,
        /// What was found and what would be right.
        message: String,
    },

    /// Noise was injected into masks that draw none.
    #[error("only hard_concrete masks use noise; these are {method}")]
    NoiseUnused {
        /// The mask method in use.
        method: &'static str,
    },

    /// A file does not exist.
    #[error("{}: no such file", path.display())]
    FileNotFound {
        /// The path as given.
        path: PathBuf,
    },

    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path as given.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },

    /// A file ends before the tensors that its header lists.
    #[error("{}: truncated safetensors file ({found} bytes)", path.display())]
    TruncatedFile {
        /// The path as given.
        path: PathBuf,
        /// Size of the file in bytes.
        found: usize,
    },

    /// A file is no safetensors file.
    #[error("{}: not a safetensors file: {source}", path.display())]
    NotSafetensors {
        /// The path as given.
        path: PathBuf,
        /// What the parser found.
        source: safetensors::SafeTensorError,
    },

    /// A tensor could not be written as safetensors.
    #[error("cannot encode masks as safetensors: {source}")]
    Encode {
        /// What the writer found.
        source: safetensors::SafeTensorError,
    },

    /// A stored tensor has a type that is no mask parameter's.
    #[error("{}: {name:?} is {dtype}; mask parameters are floats", path.display())]
    UnsupportedDtype {
        /// The path as given.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Its type in the file.
        dtype: String,
    },

    /// A golden mask case cannot be run.
    #[error("mask case: {message}")]
    InvalidCase {
        /// What was found and what would be right.
        message: String,
    },
}

/// A tensor of the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Name of the tensor.
    pub name: String,
    /// The shape that fits.
    pub expected: Vec<usize>,
    /// The shape as given.
    pub found: Vec<usize>,
}

/// How many misfits an error lists.
const SHOWN: usize = 5;

fn list_misfits(misfits: &[Misfit]) -> String {
    list(misfits, |m| format!("{:?} has shape {:?}, but {:?} would fit", m.name, m.found, m.expected))
}

fn list_differences(misfits: &[Misfit]) -> String {
    list(misfits, |m| format!("{:?} has shape {:?} in the first and {:?} in the second", m.name, m.expected, m.found))
}

fn list(misfits: &[Misfit], one: impl Fn(&Misfit) -> String) -> String {
    let shown: Vec<String> = misfits.iter().take(SHOWN).map(one).collect();
    match misfits.len().saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

fn list_keys(keys: &[String]) -> String {
    if keys.is_empty() { "nothing".to_string() } else { format!("{}, …", keys.join(", ")) }
}

fn nearest_names(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        [one] => format!(" (did you mean {one:?}?)"),
        many => format!(" (nearest: {})", many.join(", ")),
    }
}
