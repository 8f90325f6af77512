//! GPT-2 (Radford et al. 2019), HF's `GPT2Model` and its heads.
//!
//! Pre-LN blocks: `x ← x + attn(ln_1(x))`, `x ← x + mlp(ln_2(x))`, then a final LayerNorm `ln_f`. HF's `Conv1D` stores
//! its weight as `[in, out]`, like Burn, so it is loaded without a transpose. `lm_head`, `score` and
//! `classifier` are `nn.Linear` and are transposed. There is no dropout: models run frozen or are trained without it.

mod attention;
mod config;
mod conv1d;
mod model;

pub use config::Gpt2Config;
pub use model::Gpt2;
