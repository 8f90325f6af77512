//! BERT (Devlin et al. 2019) and its relatives: RoBERTa, ERNIE, ELECTRA, MPNet and ConvBERT.
//!
//! Post-LN blocks: `x ← LN(x + attention(x))`, `x ← LN(x + mlp(x))`. What a relative does otherwise is data in
//! `family.rs`: where positions count from, which embeddings there are, how its heads look and what its checkpoint
//! calls things. Two parts are modules of their own: MPNet's relative positions and ConvBERT's span convolution.

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
