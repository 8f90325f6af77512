//! Which part of a model each maskable weight belongs to: which block, and in it which attention head or the MLP.
//!
//! A family says it as data, in an [`BlockLayout`]: names of the layers of a block, and along which side of such a layer its
//! heads lie. All axes and ranges are those of Hugging Face's layout, in which mask files are written.

use std::fmt;

/// Where in a model a layer stands, in the order of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// Before the blocks: what makes embeddings.
    Input,
    /// In a block.
    Block {
        /// The stage that the block is in, counted from 0; only ResNets have stages.
        stage: Option<usize>,
        /// The block, counted from 0 (within its stage).
        layer: usize,
    },
    /// After the blocks: pooler and heads.
    Output,
}

/// What of a block a weight belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// An attention head, counted from 0.
    Head(usize),
    /// A head of ConvBERT's span-based convolution, counted from 0.
    ConvolutionHead(usize),
    /// Attention's, but of no single head.
    AllHeads,
    /// The MLP.
    Mlp,
    /// The convolutions of a ResNet's layer.
    Convolutions,
    /// The projection of a ResNet's layer beside them.
    Shortcut,
    /// None of these, as all that stands outside the blocks.
    Other,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("input"),
            Self::Block { stage: None, layer } => write!(f, "layer {layer}"),
            Self::Block { stage: Some(stage), layer } => write!(f, "stage {stage} layer {layer}"),
            Self::Output => f.write_str("output"),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(head) => write!(f, "head {head}"),
            Self::ConvolutionHead(head) => write!(f, "conv {head}"),
            Self::AllHeads => f.write_str("all heads"),
            Self::Mlp => f.write_str("MLP"),
            Self::Convolutions => f.write_str("convolutions"),
            Self::Shortcut => f.write_str("shortcut"),
            Self::Other => f.write_str("other"),
        }
    }
}

/// Makes the part that stands for one head.
pub type HeadPart = fn(usize) -> Component;

/// How a layer divides into parts.
///
/// A side that is divided is cut into equal ranges: all heads of the first kind, then all heads of the next.
#[derive(Clone, Copy, Debug)]
pub enum HeadSplit {
    /// Along its outputs, bias included.
    Outputs(&'static [HeadPart]),
    /// Along its inputs; its bias is that of all heads.
    Inputs(&'static [HeadPart]),
    /// Not at all.
    Whole(Component),
}

/// How the blocks of a family are built, in Hugging Face's names.
#[derive(Clone, Copy, Debug)]
pub struct BlockLayout {
    /// Heads of one kind in a block.
    pub n_heads: usize,
    /// Names of the lists that blocks are in, each followed by an index: `h`; a ResNet's `stages` and `layers`.
    pub lists: &'static [&'static str],
    /// Beginnings of layer names within a block, as whole parts of a dotted path. The first that fits is taken.
    pub layers: &'static [(&'static str, HeadSplit)],
}

/// Attention whose outputs go head by head.
pub(crate) const BY_OUTPUT: HeadSplit = HeadSplit::Outputs(&[Component::Head]);
/// Attention whose inputs go head by head: its output projection.
pub(crate) const BY_INPUT: HeadSplit = HeadSplit::Inputs(&[Component::Head]);
/// Queries, keys and values side by side, each head by head (GPT-2).
pub(crate) const FUSED: HeadSplit = HeadSplit::Outputs(&[Component::Head, Component::Head, Component::Head]);
/// A layer of the MLP.
pub(crate) const MLP: HeadSplit = HeadSplit::Whole(Component::Mlp);
