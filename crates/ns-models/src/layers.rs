//! The layers of a model that a mask can be put on.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// What a layer is to PyTorch, and with it the layout of its weight in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// `nn.Linear`: `[out, in]` in the checkpoint, `[in, out]` in Burn.
    Linear,
    /// GPT-2's `Conv1D`: `[in, out]` in both.
    GptConv1d,
    /// `nn.Conv1d`: `[out, in / groups, kernel]` in both.
    Conv1d,
    /// `nn.Conv2d`: `[out, in / groups, height, width]` in both.
    Conv2d,
}

impl LayerKind {
    /// Name as in mask files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::GptConv1d => "gpt_conv1d",
            Self::Conv1d => "conv1d",
            Self::Conv2d => "conv2d",
        }
    }
}

/// A layer with a weight that can be masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskableLayer {
    /// HF state-dict name, e.g. `transformer.h.0.attn.c_attn`.
    pub name: String,
    /// Path of the layer in the Burn module.
    pub path: String,
    /// Layout of its weight.
    pub kind: LayerKind,
    /// Shape of its weight in the checkpoint.
    pub shape: Vec<usize>,
    /// Whether it has a bias.
    pub bias: bool,
}

/// All linear and convolution layers of `module`, in the order of its fields, named by their paths.
///
/// A Burn `Linear` is HF's `nn.Linear` unless `is_gpt_conv1d` says of its path that it stands for a `Conv1D`.
pub(crate) fn find_layers<M: Module>(module: &M, is_gpt_conv1d: impl Fn(&str) -> bool) -> Vec<MaskableLayer> {
    let mut finder = Finder { path: Vec::new(), containers: Vec::new(), layers: Vec::new(), is_gpt_conv1d };
    module.visit(&mut finder);
    finder.layers
}

struct Finder<F> {
    path: Vec<String>,
    containers: Vec<String>,
    layers: Vec<MaskableLayer>,
    is_gpt_conv1d: F,
}

impl<F: Fn(&str) -> bool> ModuleVisitor for Finder<F> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.into());
        self.containers.push(container_type.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let kind = match self.containers.last().map(String::as_str) {
            Some("Struct:Linear") => LayerKind::Linear,
            Some("Struct:Conv1d") => LayerKind::Conv1d,
            Some("Struct:Conv2d") => LayerKind::Conv2d,
            _ => return,
        };
        let Some((leaf, layer)) = self.path.split_last() else {
            return;
        };
        let path = layer.join(".");
        if leaf == "bias" {
            if let Some(layer) = self.layers.iter_mut().find(|layer| layer.path == path) {
                layer.bias = true;
            }
            return;
        }
        let mut shape = param.lazy_shape().to_vec();
        let kind = match kind {
            LayerKind::Linear if (self.is_gpt_conv1d)(&path) => LayerKind::GptConv1d,
            LayerKind::Linear => {
                shape.reverse();
                LayerKind::Linear
            }
            convolution => convolution,
        };
        self.layers.push(MaskableLayer { name: path.clone(), path, kind, shape, bias: false });
    }
}
