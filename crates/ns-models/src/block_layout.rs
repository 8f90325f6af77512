//! Types for the location and component of a maskable weight: its block, and the attention head or MLP in that block.
//!
//! Each family describes its blocks with a [`BlockLayout`]: the names of the layers in a block, the axis along which the
//! heads of each layer are arranged, and the MLP. All axes and ranges refer to HF's weight layout, which mask files also
//! use.

use std::fmt;

use crate::activation::Activation;

/// Location of a layer in a model. Locations are ordered as in a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// Before the blocks: the embeddings.
    Input,
    /// In a block.
    Block {
        /// Index of the stage that contains the block, counted from 0. Only ResNets have stages.
        stage: Option<usize>,
        /// Index of the block in the model, or in its stage, counted from 0.
        layer: usize,
    },
    /// After the blocks: the pooler and the head of the model.
    Output,
}

/// The component of a block that a weight belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Component {
    /// The attention head with this index, counted from 0.
    Head(usize),
    /// The head of ConvBERT's span-based convolution with this index, counted from 0.
    ConvolutionHead(usize),
    /// Attention, but not a single head, e.g. the bias of the output projection.
    AllHeads,
    /// The MLP.
    Mlp,
    /// The convolutions of a ResNet layer.
    Convolutions,
    /// The shortcut projection of a ResNet layer.
    Shortcut,
    /// Any other weight. Weights outside the blocks belong to this component.
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

/// Creates the component of one head from its index, e.g. [`Component::Head`].
pub type HeadPart = fn(usize) -> Component;

/// How the parameters of a layer are split into components.
///
/// The split axis is cut into equal ranges: one range per head for the first [`HeadPart`], then one range per head for
/// the second, and so on. The number of heads belongs to the split, because queries may have more heads than keys and
/// values (grouped-query attention).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum HeadSplit {
    /// Split along the outputs of the layer, into these parts with this number of heads each. The bias is split too.
    Outputs(usize, &'static [HeadPart]),
    /// Split along the inputs of the layer, into these parts with this number of heads each. The bias belongs to
    /// [`Component::AllHeads`].
    Inputs(usize, &'static [HeadPart]),
    /// Not split: all parameters belong to one component.
    Whole(Component),
}

impl HeadSplit {
    /// An attention projection whose outputs are arranged by head: query, key or value.
    pub(crate) fn by_output(n_heads: usize) -> Self {
        Self::Outputs(n_heads, &[Component::Head])
    }

    /// A fused projection to all queries, then all keys, then all values, each arranged by head (GPT-2).
    pub(crate) fn fused(n_heads: usize) -> Self {
        Self::Outputs(n_heads, &[Component::Head, Component::Head, Component::Head])
    }

    /// An attention projection whose inputs are arranged by head: the output projection.
    pub(crate) fn by_input(n_heads: usize) -> Self {
        Self::Inputs(n_heads, &[Component::Head])
    }

    /// The splits of separate projections: query, key, value and output.
    pub(crate) fn separate(
        [query, key, value, output]: [&'static str; 4],
        n_heads: usize,
    ) -> Vec<(&'static str, Self)> {
        let by_output = Self::by_output(n_heads);
        vec![(query, by_output), (key, by_output), (value, by_output), (output, Self::by_input(n_heads))]
    }
}

/// The MLP of a block, in HF's names of its layers within the block.
#[derive(Clone, Copy, Debug)]
pub struct MlpNames {
    /// The layers that compute the hidden units: one, or the gate and up projections of a gated MLP.
    pub inputs: &'static [&'static str],
    /// The layer that reads the hidden units.
    pub output: &'static str,
    /// Field of `config.json` with the number of hidden units.
    pub width_field: &'static str,
    /// Activation function of the hidden units, or of the gates in a gated MLP.
    pub activation: Activation,
}

impl MlpNames {
    pub(crate) fn new(
        inputs: &'static [&'static str],
        output: &'static str,
        width_field: &'static str,
        activation: Activation,
    ) -> Self {
        Self { inputs, output, width_field, activation }
    }
}

/// The structure of the blocks of a model, in HF's names.
#[derive(Clone, Debug)]
pub struct BlockLayout {
    /// Names of the module lists that contain the blocks. In a layer name, each is followed by an index: `h` for
    /// `transformer.h.0.…`; `stages` and `layers` for a ResNet.
    pub lists: &'static [&'static str],
    /// Prefixes of layer names within a block, each with how these layers are split. A prefix consists of whole
    /// segments of a dotted path. The first match is used. The layers of the MLP are not listed.
    pub layers: Vec<(&'static str, HeadSplit)>,
    /// The MLP, if the blocks have one.
    pub mlp: Option<MlpNames>,
}

impl BlockLayout {
    /// How a layer is split, by its name within the block.
    pub(crate) fn split_of(&self, name: &str) -> HeadSplit {
        if self.mlp.is_some_and(|mlp| mlp.output == name || mlp.inputs.contains(&name)) {
            return HeadSplit::Whole(Component::Mlp);
        }
        let listed = self.layers.iter().find(|(prefix, _)| starts_with_path(name, prefix));
        listed.map_or(HeadSplit::Whole(Component::Other), |(_, split)| *split)
    }
}

/// Whether the first segments of a dotted path are those of `prefix`.
fn starts_with_path(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
