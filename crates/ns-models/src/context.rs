//! [`Context`]: what the blocks of a transformer share for a batch.

use burn::tensor::Tensor;

use crate::attention::AttentionBias;
use crate::linear_hook::Hook;
use crate::positions::Positions;
use crate::rotary::Rotary;

/// The per-batch inputs of the blocks, in addition to the hidden state.
#[derive(Clone, Debug)]
pub struct Context {
    /// Size `[batch, seq]` of the residual stream.
    pub dims: [usize; 2],
    /// Attention mask.
    pub attention_bias: AttentionBias,
    /// Attention mask of blocks with local attention (GPT-Neo).
    pub local_attention_bias: Option<AttentionBias>,
    /// Rotary position embeddings of queries and keys (GPT-NeoX).
    pub rotary: Option<Rotary>,
    /// Index of a block that is computed at some positions only, with these positions.
    ///
    /// Its keys and values are still those of the whole sequence. Its queries and everything after them are computed at
    /// these positions only. Later blocks would lack the other positions, so the forward pass must end in this block.
    pub narrowed: Option<(usize, Positions)>,
    /// What the linear layers in the blocks call.
    pub hook: Hook,
}

impl Context {
    /// Creates a context that contains only the size `[batch, seq]` of the residual stream and an attention mask.
    pub fn new(dims: [usize; 2], attention_bias: AttentionBias) -> Self {
        Self { dims, attention_bias, local_attention_bias: None, rotary: None, narrowed: None, hook: None }
    }

    /// Restricts block `layer` to some positions. See [`narrowed`](Self::narrowed).
    pub fn only(self, layer: usize, positions: impl Into<Positions>) -> Self {
        Self { narrowed: Some((layer, positions.into())), ..self }
    }

    /// Lets the linear layers in the blocks call `hook`.
    pub fn with_hook(self, hook: Hook) -> Self {
        Self { hook, ..self }
    }

    /// Returns the positions at which block `layer` is computed, or `None` for all positions.
    pub fn positions_of(&self, layer: usize) -> Option<&Positions> {
        self.narrowed.as_ref().filter(|(narrowed, _)| *narrowed == layer).map(|(_, positions)| positions)
    }

    /// Selects the vectors at the positions at which block `layer` is computed.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, width]`
    /// - output: `[batch, positions, width]`
    pub(crate) fn select(&self, layer: usize, hidden: Tensor<3>) -> Tensor<3> {
        match self.positions_of(layer) {
            None => hidden,
            Some(positions) => positions.select(hidden),
        }
    }
}
