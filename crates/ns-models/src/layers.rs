//! The layers of a model whose weights can be masked.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

use crate::model::Model;

/// The PyTorch class of a layer. It determines the layout of the weight in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// `nn.Linear`. The weight is `[out, in]` in the checkpoint and `[in, out]` in Burn.
    Linear,
    /// GPT-2's `Conv1D`. The weight is `[in, out]` in the checkpoint and in Burn.
    GptConv1d,
    /// `nn.Conv1d`. The weight is `[out, in / groups, kernel]` in the checkpoint and in Burn.
    Conv1d,
    /// `nn.Conv2d`. The weight is `[out, in / groups, height, width]` in the checkpoint and in Burn.
    Conv2d,
}

impl LayerKind {
    /// Returns the name of the kind in mask files and reports.
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
    /// HF name of the layer, e.g. `transformer.h.0.attn.c_attn`.
    pub name: String,
    /// Path of the layer in the Burn module.
    pub path: String,
    /// PyTorch class of the layer.
    pub kind: LayerKind,
    /// Shape of the weight in the checkpoint.
    pub shape: Vec<usize>,
    /// Whether the layer has a bias.
    pub bias: bool,
}

/// All linear and convolution layers of `module`, in the order of its fields. Their names are their paths without the
/// names of enum variants, as in burn-store.
pub(crate) fn find_layers<M: Module>(module: &M) -> Vec<MaskableLayer> {
    Finder::visited(module).layers
}

/// Returns the ids of the weights of all linear and convolution layers of `model` with the layers' HF names.
///
/// A [`LinearHook`](crate::LinearHook) learns from them which layer calls it. Clones of a model share their ids.
pub fn layer_ids<M: Model>(model: &M) -> BTreeMap<ParamId, String> {
    let names = model.maskable_layers().into_iter().map(|layer| layer.name);
    Finder::visited(model).weights.into_iter().zip(names).collect()
}

#[derive(Default)]
struct Finder {
    /// Field names from the root to the current parameter, each with the type that contains the field.
    path: Vec<(String, String)>,
    layers: Vec<MaskableLayer>,
    /// Ids of the weights of `layers`.
    weights: Vec<ParamId>,
}

impl Finder {
    fn visited<M: Module>(module: &M) -> Self {
        let mut finder = Self::default();
        module.visit(&mut finder);
        finder
    }

    /// The path of the current layer (the current path without its last segment), with or without enum variants.
    fn layer_path(&self, with_variants: bool) -> String {
        let layer = self.path.split_last().map_or(&[][..], |(_, layer)| layer);
        let parts = layer.iter().filter(|(_, container)| with_variants || !container.starts_with("Enum:"));
        parts.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
    }
}

impl ModuleVisitor for Finder {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.into(), container_type.into()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some((leaf, container)) = self.path.last() else {
            return;
        };
        let kind = match container.as_str() {
            "Struct:Linear" => LayerKind::Linear,
            "Struct:Conv1D" => LayerKind::GptConv1d,
            "Struct:Conv1d" => LayerKind::Conv1d,
            "Struct:Conv2d" => LayerKind::Conv2d,
            _ => return,
        };
        let (path, name) = (self.layer_path(true), self.layer_path(false));
        if leaf == "bias" {
            if let Some(layer) = self.layers.iter_mut().find(|layer| layer.path == path) {
                layer.bias = true;
            }
            return;
        }
        let mut shape = param.lazy_shape().to_vec();
        if kind == LayerKind::Linear {
            shape.reverse();
        }
        self.layers.push(MaskableLayer { name, path, kind, shape, bias: false });
        self.weights.push(param.id);
    }
}
