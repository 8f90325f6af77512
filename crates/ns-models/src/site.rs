//! The sites of the residual stream, by the names that probes use.

use std::fmt;

/// Half of a transformer block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sublayer {
    /// Attention with its output projection.
    Attn,
    /// The feed-forward part.
    Mlp,
}

/// Which vector of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vector {
    /// What the sublayer adds to the residual stream.
    Update,
    /// The residual stream after that addition (after the LayerNorm in post-LN models).
    Stream,
}

/// A place in the residual stream, named `attn_update_1`, `mlp_stream_5` or `embeddings`; ordered as a forward pass
/// meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Output of the embeddings: input of block 0.
    Embeddings,
    /// A vector of a block.
    Block {
        /// Block, from 0.
        layer: usize,
        /// Attention or MLP.
        sublayer: Sublayer,
        /// Update or stream.
        vector: Vector,
    },
}

impl Site {
    /// The site `<component>_<vector>_<layer>`.
    pub fn new(sublayer: Sublayer, vector: Vector, layer: usize) -> Self {
        Self::Block { layer, sublayer, vector }
    }
}

impl fmt::Display for Sublayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attn => "attn",
            Self::Mlp => "mlp",
        })
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Update => "update",
            Self::Stream => "stream",
        })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embeddings => f.write_str("embeddings"),
            Self::Block { layer, sublayer, vector } => write!(f, "{sublayer}_{vector}_{layer}"),
        }
    }
}
