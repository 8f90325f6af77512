//! GPT-2 (Radford et al. 2019), HF's `GPT2Model` and its heads.
//!
//! Pre-LN blocks: `x ← x + attn(ln_1(x))`, `x ← x + mlp(ln_2(x))`, a final LayerNorm `ln_f`. HF's `Conv1D` is Burn's
//! `Linear`: both keep their weight as `[in, out]`, so it is loaded as it lies; `lm_head`, `score` and `classifier`
//! are true linears and are transposed. There is no dropout: everything here is run frozen, or trained without.

mod attention;
mod block;
mod config;
mod model;

pub use config::Gpt2Config;
pub use model::Gpt2;
