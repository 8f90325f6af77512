//! Which part of a model each maskable weight belongs to: which block, and in it which attention head or the MLP.
//!
//! A family says it as data, in an [`Anatomy`]: names of the layers of a block, and along which side of such a layer its
//! heads lie. All axes and ranges are those of Hugging Face's layout, in which mask files are written.

use std::fmt;
use std::ops::Range;

use crate::{LayerKind, MaskableLayer, Model};

/// Where in a model a layer stands, in the order of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
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
pub enum Part {
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("input"),
            Self::Block { stage: None, layer } => write!(f, "layer {layer}"),
            Self::Block { stage: Some(stage), layer } => write!(f, "stage {stage} layer {layer}"),
            Self::Output => f.write_str("output"),
        }
    }
}

impl fmt::Display for Part {
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
pub type HeadKind = fn(usize) -> Part;

/// How a layer divides into parts.
///
/// A side that is divided is cut into equal ranges: all heads of the first kind, then all heads of the next.
#[derive(Clone, Copy, Debug)]
pub enum Division {
    /// Along its outputs, bias included.
    Outputs(&'static [HeadKind]),
    /// Along its inputs; its bias is that of all heads.
    Inputs(&'static [HeadKind]),
    /// Not at all.
    Whole(Part),
}

/// How the blocks of a family are built, in Hugging Face's names.
#[derive(Clone, Copy, Debug)]
pub struct Anatomy {
    /// Heads of one kind in a block.
    pub n_heads: usize,
    /// Names of the lists that blocks are in, each followed by an index: `h`; a ResNet's `stages` and `layers`.
    pub lists: &'static [&'static str],
    /// Beginnings of layer names within a block, as whole parts of a dotted path. The first that fits is taken.
    pub layers: &'static [(&'static str, Division)],
}

/// Attention whose outputs go head by head.
pub(crate) const BY_OUTPUT: Division = Division::Outputs(&[Part::Head]);
/// Attention whose inputs go head by head: its output projection.
pub(crate) const BY_INPUT: Division = Division::Inputs(&[Part::Head]);
/// Queries, keys and values side by side, each head by head (GPT-2).
pub(crate) const FUSED: Division = Division::Outputs(&[Part::Head, Part::Head, Part::Head]);
/// A layer of the MLP.
pub(crate) const MLP: Division = Division::Whole(Part::Mlp);

/// A maskable layer and the parts that its parameters belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerParts {
    /// The layer.
    pub layer: MaskableLayer,
    /// Where it stands.
    pub place: Place,
    /// Its name within its block; outside the blocks the whole name.
    pub short_name: String,
    /// What its parameters belong to; each entry of the weight and of the bias to exactly one.
    pub portions: Vec<Portion>,
}

impl LayerParts {
    /// Whether the layer is one of an attention's that queries, keys and values come from.
    pub(crate) fn makes_queries_keys_or_values(&self) -> bool {
        let [output, _] = output_and_input(self.layer.kind);
        self.portions.iter().all(|portion| matches!(portion.part, Part::Head(_)) && portion.axis == output)
    }
}

/// The parameters of one layer that belong to one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// The part.
    pub part: Part,
    /// The axis along which the weight is divided.
    pub axis: usize,
    /// Indices along that axis.
    pub weight: Vec<Range<usize>>,
    /// Indices into the bias, if there is one.
    pub bias: Vec<Range<usize>>,
}

impl Portion {
    /// The weight's entries as ranges of its flat, row-major values.
    pub fn weight_runs(&self, shape: &[usize]) -> Vec<Range<usize>> {
        let Some((&width, inner)) = shape.get(self.axis).zip(shape.get(self.axis + 1..)) else {
            return Vec::new();
        };
        let (outer, inner) = (shape[..self.axis].iter().product::<usize>(), inner.iter().product::<usize>());
        let run =
            |row: usize, range: &Range<usize>| (row * width + range.start) * inner..(row * width + range.end) * inner;
        (0..outer).flat_map(|row| self.weight.iter().map(move |range| run(row, range))).collect()
    }
}

/// The maskable layers of `model`, in its order, with the parts that they belong to.
pub fn layer_parts<M: Model>(model: &M) -> Vec<LayerParts> {
    parts_of(model.maskable_layers(), model.anatomy())
}

fn parts_of(layers: Vec<MaskableLayer>, anatomy: Anatomy) -> Vec<LayerParts> {
    let mut outside = Place::Input;
    let parts = |layer: MaskableLayer| {
        let Some((place, rest)) = block_of(&layer.name, anatomy.lists) else {
            let short_name = layer.name.clone();
            return LayerParts { place: outside, short_name, portions: whole(&layer, Part::Other), layer };
        };
        outside = Place::Output;
        let known = anatomy.layers.iter().find(|(start, _)| is_below(&rest, start));
        let division = known.map_or(Division::Whole(Part::Other), |(_, division)| *division);
        LayerParts { place, portions: divided(&layer, division, anatomy.n_heads), short_name: rest, layer }
    };
    layers.into_iter().map(parts).collect()
}

/// The block that a layer is in, and its name there.
fn block_of(name: &str, lists: &[&str]) -> Option<(Place, String)> {
    let parts: Vec<&str> = name.split('.').collect();
    let indices = |window: &[&str]| -> Option<Vec<usize>> {
        let pairs = window.chunks(2).zip(lists);
        pairs.map(|(pair, list)| if pair[0] == *list { pair[1].parse().ok() } else { None }).collect()
    };
    let length = 2 * lists.len();
    let (start, indices) =
        parts.windows(length).enumerate().find_map(|(start, window)| Some((start, indices(window)?)))?;
    let rest = parts[start + length..].join(".");
    let place = match indices[..] {
        [layer] => Place::Block { stage: None, layer },
        [stage, layer] => Place::Block { stage: Some(stage), layer },
        _ => return None,
    };
    Some((place, rest))
}

/// Whether a dotted path is `start` or goes on from there.
fn is_below(path: &str, start: &str) -> bool {
    path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn divided(layer: &MaskableLayer, division: Division, n_heads: usize) -> Vec<Portion> {
    let (kinds, outputs) = match division {
        Division::Outputs(kinds) => (kinds, true),
        Division::Inputs(kinds) => (kinds, false),
        Division::Whole(part) => return whole(layer, part),
    };
    let [output, input] = output_and_input(layer.kind);
    let axis = if outputs { output } else { input };
    let (width, count) = (layer.shape[axis], kinds.len() * n_heads);
    if count == 0 || !width.is_multiple_of(count) {
        return whole(layer, Part::AllHeads);
    }
    let mut portions: Vec<Portion> = Vec::new();
    for place in 0..count {
        let range = place * (width / count)..(place + 1) * (width / count);
        let part = kinds[place / n_heads](place % n_heads);
        let bias = if outputs && layer.bias { vec![range.clone()] } else { Vec::new() };
        match portions.iter_mut().find(|portion| portion.part == part) {
            Some(portion) => {
                portion.weight.push(range);
                portion.bias.extend(bias);
            }
            None => portions.push(Portion { part, axis, weight: vec![range], bias }),
        }
    }
    if !outputs && layer.bias {
        let bias = Portion { weight: Vec::new(), ..whole_portion(layer, Part::AllHeads) };
        portions.push(bias);
    }
    portions
}

fn whole(layer: &MaskableLayer, part: Part) -> Vec<Portion> {
    vec![whole_portion(layer, part)]
}

fn whole_portion(layer: &MaskableLayer, part: Part) -> Portion {
    let [axis, _] = output_and_input(layer.kind);
    let all = 0..layer.shape[axis];
    Portion { part, axis, weight: vec![all.clone()], bias: if layer.bias { vec![all] } else { Vec::new() } }
}

/// The axes of a weight's outputs and inputs in Hugging Face's layout.
fn output_and_input(kind: LayerKind) -> [usize; 2] {
    match kind {
        LayerKind::Linear | LayerKind::Conv1d | LayerKind::Conv2d => [0, 1],
        LayerKind::GptConv1d => [1, 0],
    }
}

#[cfg(test)]
mod tests;
