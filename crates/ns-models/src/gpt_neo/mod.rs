//! GPT-Neo (Black et al. 2021), HF's `GPTNeoModel` and its heads.
//!
//! GPT-2's pre-LN blocks with separate projections, all of them true linears. Blocks take turns in seeing the whole
//! past (global) and its last `window_size` tokens (local); scores are not divided by √head_dim.

mod block;
mod config;
mod model;

pub use config::{GptNeoAttention, GptNeoConfig};
pub use model::GptNeo;
