//! The error type of this crate.

use std::path::PathBuf;

use crate::site::Site;

/// An error from loading, saving or running a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be opened, read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// The failed operation: "open", "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file is missing from a model folder.
    #[error("`{}` does not contain {expected}; a model folder contains config.json and model.safetensors (or model.safetensors.index.json with its shards){}", folder.display(), hint)]
    NoSuchFile {
        /// The model folder.
        folder: PathBuf,
        /// The missing file.
        expected: String,
        /// How to fix it, starting with `; `, or empty.
        hint: String,
    },
    /// A JSON file has a syntax error, a missing key or a value of the wrong type.
    #[error("`{}` is not valid: {reason}", path.display())]
    InvalidJson {
        /// The file.
        path: PathBuf,
        /// Message of the parser, or what is missing.
        reason: String,
    },
    /// A file is not a safetensors file, or it is truncated.
    #[error("`{}` is not a complete safetensors file: {reason}", path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
    /// A shard index refers to a path that is not a file name in its own folder.
    #[error("`{}` maps tensors to `{shard}`: a shard must be a file in the same folder", index.display())]
    UnsafeShard {
        /// The index file.
        index: PathBuf,
        /// The entry in the index.
        shard: String,
    },
    /// The `model_type` of a configuration is not supported.
    #[error("model_type `{found}` is not supported; supported values are: {}", known.join(", "))]
    UnknownModelType {
        /// The value in the configuration.
        found: String,
        /// The supported values.
        known: Vec<String>,
    },
    /// A transformer is required, but the model is not a transformer.
    #[error(
        "this needs a transformer, but a model with model_type `{model_type}` has no residual stream; only its layers can be masked"
    )]
    NoResidualStream {
        /// The `model_type` of the model.
        model_type: String,
    },
    /// The class in `architectures` is not supported for its family.
    #[error("architecture `{found}` is not supported for model_type `{model_type}`; supported values are: {}", known.join(", "))]
    UnknownArchitecture {
        /// The `model_type` of the model.
        model_type: String,
        /// The class in the configuration.
        found: String,
        /// The supported classes.
        known: Vec<String>,
    },
    /// A field of a configuration has an invalid value.
    #[error("invalid model configuration: {field} is {found}, but {expected}")]
    InvalidConfig {
        /// The field of `config.json`.
        field: &'static str,
        /// The value of the field.
        found: String,
        /// The requirement that the value violates.
        expected: String,
    },
    /// Tensors that the model requires are not in the checkpoint.
    #[error("the checkpoint lacks {}{}", list(names), nearest.as_ref().map(|n| format!(" (nearest key in the file: `{n}`)")).unwrap_or_default())]
    MissingTensors {
        /// HF names of the missing tensors.
        names: Vec<String>,
        /// The unused key of the checkpoint that is most similar to the first name.
        nearest: Option<String>,
    },
    /// The checkpoint contains tensors that the model does not have.
    #[error("the checkpoint contains {} that the model does not have", list(names))]
    ExtraTensors {
        /// Keys of the tensors in the checkpoint.
        names: Vec<String>,
    },
    /// A tensor does not have the shape that follows from the configuration.
    #[error("tensor `{name}` has shape {found:?}, but the configuration requires {expected:?}")]
    MisshapenTensor {
        /// HF name of the tensor.
        name: String,
        /// Shape required by the configuration, in HF layout.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// The element type of a tensor is not supported for weights.
    #[error("tensor `{name}` has element type {found}; weights are f32, f16, bf16 or f64")]
    UnsupportedDtype {
        /// HF name of the tensor.
        name: String,
        /// Element type in the file.
        found: String,
    },
    /// A tensor of the right shape could not be loaded into the module.
    #[error("the checkpoint cannot be loaded into the model: {reason}")]
    Unloadable {
        /// burn-store's message.
        reason: String,
    },
    /// A parameter of a module could not be read from its device.
    #[error("tensor `{name}` of the model cannot be read: {reason}")]
    UnreadableTensor {
        /// HF name of the tensor.
        name: String,
        /// burn-store's message.
        reason: String,
    },
    /// The blocks of the model have no MLPs whose hidden units can be removed.
    #[error("a model with model_type `{model_type}` has no MLPs with separate hidden units: {reason}")]
    NoMlp {
        /// The `model_type` of the model.
        model_type: String,
        /// What the model has instead.
        reason: String,
    },
    /// The model does not have a requested site of the residual stream.
    #[error("no residual site `{asked}` in this model: {reason}")]
    NoSuchSite {
        /// The requested site.
        asked: String,
        /// Why there is no such site, or which sites are valid.
        reason: String,
    },
    /// An input is invalid for the model.
    #[error("invalid input: {what} is {found}, but {expected}")]
    InvalidInput {
        /// The input.
        what: &'static str,
        /// The given value.
        found: String,
        /// The requirement that the value violates.
        expected: String,
    },
    /// The tokenizer of a model folder is missing, invalid, or does not support an operation.
    #[error("cannot use the tokenizer `{}`: {reason}", path.display())]
    Tokenizer {
        /// Path of `tokenizer.json`.
        path: PathBuf,
        /// What is wrong, and how to fix it.
        reason: String,
    },
    /// A `preprocessor_config.json` is missing or invalid.
    #[error("cannot use the image processor `{}`: {reason}", path.display())]
    ImageProcessor {
        /// The file.
        path: PathBuf,
        /// What is wrong, and how to fix it.
        reason: String,
    },
    /// The image processor in `preprocessor_config.json` is not supported.
    #[error("image processor `{found}` of `{}` is not supported; supported values are: {}", path.display(), known.join(", "))]
    UnknownImageProcessor {
        /// The file.
        path: PathBuf,
        /// The image processor in the file.
        found: String,
        /// The supported image processors.
        known: Vec<String>,
    },
    /// A file cannot be decoded as an image, or its pixel format is not supported.
    #[error("cannot read `{}` as an image: {reason}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
    /// A model name is neither a folder nor a model of the Hub, or the model cannot be downloaded.
    #[error("cannot find the model `{name}`: {reason}")]
    ModelNotFound {
        /// The requested model.
        name: String,
        /// Where the model was searched for, and how to fix it.
        reason: String,
    },
    /// A forward pass that continues from one site does not reach another.
    #[error("a forward pass that continues from `{start}` does not reach `{asked}`")]
    NotReached {
        /// The requested site.
        asked: Site,
        /// The site from which the forward pass continues.
        start: Site,
    },
    /// A forward pass cannot continue from a site, because its vector is an update and not the residual stream.
    #[error(
        "a forward pass cannot continue from `{asked}`, which is an update; continue from `embeddings` or a stream"
    )]
    NotAStart {
        /// The site.
        asked: Site,
    },
    /// A forward pass was stopped before the head, so it has no output.
    #[error("the forward pass was stopped at `{at}`, before the head, so it has no output")]
    StoppedEarly {
        /// The site at which the observer stopped the forward pass.
        at: Site,
    },
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => format!("{} tensor(s) {}", names.len(), shown.join(", ")),
        more => format!("{} tensors {} and {more} more", names.len(), shown.join(", ")),
    }
}
