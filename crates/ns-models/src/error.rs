//! What can go wrong between a folder on disk and a forward pass.

use std::path::PathBuf;

use crate::site::Site;

/// Error of loading, saving or running a model; each variant says what was asked, what was found and what would
/// be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be opened, read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// "read", "write", …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A model folder lacks a file.
    #[error("`{}` holds no {expected}; a model folder has config.json and model.safetensors (or model.safetensors.index.json with its shards){}", folder.display(), hint)]
    NoSuchFile {
        /// The folder that was looked into.
        folder: PathBuf,
        /// The file that should be there.
        expected: String,
        /// What to do, where something better than "add it" is known.
        hint: String,
    },
    /// A JSON file does not say what it must.
    #[error("`{}` is not valid: {reason}", path.display())]
    InvalidJson {
        /// The file.
        path: PathBuf,
        /// Parser message or missing key.
        reason: String,
    },
    /// A file is no safetensors file, or was cut off.
    #[error("`{}` is not a complete safetensors file: {reason}", path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        reason: String,
    },
    /// A shard index names something that is not a file of its folder.
    #[error("`{}` maps tensors to `{shard}`: a shard must be a file in the same folder", index.display())]
    UnsafeShard {
        /// The index file.
        index: PathBuf,
        /// The offending entry.
        shard: String,
    },
    /// `model_type` names no architecture of this crate.
    #[error("model_type `{found}` is not supported; known are: {}", known.join(", "))]
    UnknownModelType {
        /// What the config says.
        found: String,
        /// What is built.
        known: Vec<String>,
    },
    /// A transformer is asked for, and the model is none.
    #[error("a model of model_type `{model_type}` has no residual stream; only its layers can be masked")]
    NoResidualStream {
        /// The family.
        model_type: String,
    },
    /// `architectures` names a head that this family does not have.
    #[error("architecture `{found}` is not supported for model_type `{model_type}`; known are: {}", known.join(", "))]
    UnknownArchitecture {
        /// The family.
        model_type: String,
        /// What the config says.
        found: String,
        /// What is built.
        known: Vec<String>,
    },
    /// A configuration cannot describe a model.
    #[error("invalid model configuration: {field} is {found}, but {expected}")]
    InvalidConfig {
        /// Field of `config.json`.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A tensor that the architecture needs is not in the checkpoint.
    #[error("checkpoint lacks {}{}", list(names), nearest.as_ref().map(|n| format!(" (nearest key in the file: `{n}`)")).unwrap_or_default())]
    MissingTensors {
        /// HF names of the tensors.
        names: Vec<String>,
        /// Closest left-over key to the first of them.
        nearest: Option<String>,
    },
    /// The checkpoint has tensors that the architecture does not know.
    #[error("checkpoint holds {} that this architecture does not have", list(names))]
    ExtraTensors {
        /// Keys of the file.
        names: Vec<String>,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, but the configuration asks for {expected:?}")]
    MisshapenTensor {
        /// HF name.
        name: String,
        /// Shape by the configuration, in HF layout.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor's element type cannot be a weight.
    #[error("tensor `{name}` has element type {found}; weights are f32, f16, bf16 or f64")]
    UnsupportedDtype {
        /// HF name.
        name: String,
        /// Type in the file.
        found: String,
    },
    /// A tensor that fits could not be put into the module.
    #[error("the checkpoint cannot be loaded into the model: {reason}")]
    Unloadable {
        /// burn-store's message.
        reason: String,
    },
    /// A tensor of a module that its device does not give back.
    #[error("tensor `{name}` of the model cannot be read: {reason}")]
    UnreadableTensor {
        /// HF name.
        name: String,
        /// burn-store's message.
        reason: String,
    },
    /// A model without the blocks' MLPs that are asked for.
    #[error("a model of model_type `{model_type}` has no MLPs with hidden units of their own: {reason}")]
    NoMlp {
        /// The family.
        model_type: String,
        /// What it has instead.
        reason: String,
    },
    /// A residual site that this model does not have.
    #[error("no residual site `{asked}` in this model: {reason}")]
    NoSuchSite {
        /// The site or its name.
        asked: String,
        /// Why not, or which there are.
        reason: String,
    },
    /// The inputs do not fit the model.
    #[error("invalid input: {what} is {found}, but {expected}")]
    InvalidInput {
        /// Which input.
        what: &'static str,
        /// What was given.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// The tokenizer of a model folder is absent, is not valid, or cannot do what was asked.
    #[error("cannot use the tokenizer `{}`: {reason}", path.display())]
    Tokenizer {
        /// `tokenizer.json`.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// `preprocessor_config.json` is absent or says what cannot be.
    #[error("cannot use the image processor `{}`: {reason}", path.display())]
    ImageProcessor {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// `preprocessor_config.json` names an image processor that is not built.
    #[error("image processor `{found}` of `{}` is not supported; known are: {}", path.display(), known.join(", "))]
    UnknownImageProcessor {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What is built.
        known: Vec<String>,
    },
    /// A file is no image that a model can see.
    #[error("cannot read `{}` as an image: {reason}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        reason: String,
    },
    /// A name that is neither a folder nor a model of the Hub, or one that cannot be downloaded.
    #[error("cannot find the model `{name}`: {reason}")]
    ModelNotFound {
        /// What was asked for.
        name: String,
        /// Where it was looked for, and what to do.
        reason: String,
    },
    /// A walk was stopped before the head, so it has no output.
    #[error("the walk was stopped at `{at}`, before the head: there is no output")]
    StoppedEarly {
        /// Where the observer stopped it.
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
