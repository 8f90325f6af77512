//! GPT-Neo (Black et al. 2021), HF's `GPTNeoModel` and its heads.
//!
//! The blocks are GPT-2's, with separate `nn.Linear` projections for query, key and value. By default, blocks alternate
//! between attention to all previous tokens (global) and to the last `window_size` tokens (local). Attention scores are
//! not divided by `√head_dim`.

mod attention;
mod config;
mod model;

pub use config::{GptNeoAttention, GptNeoConfig};
pub use model::GptNeo;
