//! The sites of the residual stream and their names.

use std::fmt;

/// One half of a transformer block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sublayer {
    /// Attention, including its output projection.
    Attn,
    /// The MLP (feed-forward network).
    Mlp,
}

/// Which vector of a sublayer a site refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vector {
    /// What the sublayer adds to the residual stream.
    Update,
    /// The residual stream after that addition (after the LayerNorm in post-LN models).
    Stream,
}

/// A site: a named point of the residual stream, such as `attn_update_1`, `mlp_stream_5` or `embeddings`.
///
/// Sites are ordered as in a forward pass. They are parsed from and formatted as their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// The output of the embeddings, which is the input of block 0.
    Embeddings,
    /// A vector of a block.
    Block {
        /// Index of the block, counted from 0.
        layer: usize,
        /// The half of the block.
        sublayer: Sublayer,
        /// The update or the stream.
        vector: Vector,
    },
}

impl Site {
    /// Creates the site `<sublayer>_<vector>_<layer>`.
    pub fn new(sublayer: Sublayer, vector: Vector, layer: usize) -> Self {
        Self::Block { layer, sublayer, vector }
    }

    /// Index of the block; `None` for the embeddings.
    pub fn layer(self) -> Option<usize> {
        match self {
            Self::Embeddings => None,
            Self::Block { layer, .. } => Some(layer),
        }
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
