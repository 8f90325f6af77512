//! BERT and models of the same architecture: RoBERTa, ERNIE, ELECTRA, MPNet and ConvBERT.
//!
//! All are stacks of post-LN blocks: `x ← LN(x + attention(x))`, `x ← LN(x + mlp(x))`. `family.rs` lists the
//! differences between the families as data: position ids, embeddings, heads and checkpoint keys. MPNet's relative
//! positions and ConvBERT's span convolution have modules of their own.

mod attention;
mod config;
mod embeddings;
mod family;
mod feed_forward;
mod head;
mod layer;
mod model;
mod relative_position;
mod residual_output;
mod span_convolution;

pub use config::EncoderConfig;
pub use family::EncoderFamily;
pub use model::Encoder;
