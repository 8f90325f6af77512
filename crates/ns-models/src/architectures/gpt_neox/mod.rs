//! GPT-NeoX (Black et al. 2022), the architecture of Pythia: HF's `GPTNeoXModel` and its heads.
//!
//! Rotary position embeddings rotate the first dimensions of each head. The outputs of the fused query-key-value
//! projection are grouped by head: `q k v` of head 0, then of head 1, and so on. With `use_parallel_residual`,
//! attention and MLP read the same input: `x ← x + attn(ln₁(x)) + mlp(ln₂(x))`. Otherwise the MLP reads the stream
//! after attention.

mod block;
mod config;
mod model;

pub use config::GptNeoXConfig;
pub use model::GptNeoX;
