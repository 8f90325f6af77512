//! Trained Hugging Face models on Burn, with access to the residual stream.
//!
//! A model is loaded from a folder written by `save_pretrained`. The forward pass of a [`Transformer`] is split into
//! steps: `embed → block 0 … block n−1 → head`. Each block reports the updates that attention and MLP add to the
//! residual stream, and the stream after each addition, to an [`Observer`]. The observer can record a value, replace
//! it, or stop the forward pass. [`VectorCache`] is an observer that records chosen [`Site`]s.
//!
//! This crate does not contain masks or probes; they are in `ns-circuit` and `ns-probe`.
//!
//! ```
//! use burn::tensor::Device;
//! use ns_models::{Gpt2, Gpt2Config, ModelInputs, Pretrained, Transformer, VectorCache};
//!
//! let device = Device::default();
//! let config = Gpt2Config { vocab_size: 10, n_embd: 8, n_layer: 2, n_head: 2, n_positions: 4, ..Default::default() };
//! let model = Gpt2::init(&config, &device)?;
//! let inputs = ModelInputs::from_ids(&[[1, 2, 3], [4, 5, 6]], &device);
//!
//! let mut cache = VectorCache::new(["attn_update_1".parse()?]);
//! model.walk(&inputs, &mut cache)?; // stops after the last requested site
//! assert_eq!(cache.get("attn_update_1".parse()?).map(|v| v.dims()), Some([2, 3, 8]));
//! # Ok::<(), ns_models::ModelError>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;

mod kernels;

mod activation;
mod attention;
mod init;
mod inputs;
mod linear;
mod loss;
mod positions;
mod residual;
mod rotary;
mod site;

mod block;
mod block_layout;
mod context;
mod layer_components;
mod layers;
mod linear_hook;
mod mlp;
mod model;
mod transformer;
mod unaffected;
mod walk;

mod checkpoint;
mod config;
mod hub;
mod json;

mod images;
mod pooling;
mod text;

mod architectures;

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod testing;

pub use activation::Activation;
pub use architectures::*;
pub use attention::{AttentionBias, attend, attend_from, merge_heads, split_heads};
pub use block::Block;
pub use block_layout::{BlockLayout, Component, HeadPart, HeadSplit, Location, MlpNames};
pub use checkpoint::{
    Checkpoint, HfNames, Pretrained, TensorFile, TensorType, check_base_weights, copy_companions, load_base_weights,
    load_weights, save_folder, save_pretrained, save_tensors, write_atomically,
};
pub use config::{CommonConfig, Head, InitialValue, ProblemType, read_config};
pub use context::Context;
pub use error::ModelError;
pub use hub::resolve_model;
pub use images::{ImagePreprocessor, PreparedImage};
pub use inputs::{Logits, ModelInputs, ModelOutput};
pub use layer_components::{LayerComponents, WeightSlice, layer_components};
pub use layers::{LayerKind, MaskableLayer, layer_ids};
pub use linear_hook::{Columns, Hook, LinearHook};
pub use loss::{IGNORED_LABEL, Labels, TaskOutput, cross_entropy, task_loss};
pub use mlp::{MlpLayers, MlpLayout};
pub use model::{Architecture, Model};
pub use pooling::{cosine_similarity, mean_pool};
pub use positions::{ChosenPositions, Positions};
pub use residual::{Ignore, Observer, Patch, VectorCache};
pub use rotary::Rotary;
pub use site::{Site, Sublayer, Vector};
pub use text::{EncodedText, RowFormat, TextBatch, TextPart, TextToken, TextTokenizer, Word, usable_positions};
pub use transformer::{ResidualStream, Transformer};
pub use unaffected::{last_unaffected, layers_before, layers_fed_by, layers_of_site};
pub use walk::{Flow, WalkOutcome, WalkRange};

/// Runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
