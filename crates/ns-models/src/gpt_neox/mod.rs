//! GPT-NeoX (Black et al. 2022; Pythia), HF's `GPTNeoXModel` and its heads.
//!
//! Rotary positions on a part of each head, one fused projection whose rows go head by head (`q k v` of head 0, then
//! of head 1, …), and an MLP that reads either the stream after attention or, with `use_parallel_residual`, the same
//! input as attention does: `x ← x + attn(ln₁(x)) + mlp(ln₂(x))`.

mod block;
mod config;
mod model;

pub use config::GptNeoXConfig;
pub use model::GptNeoX;
