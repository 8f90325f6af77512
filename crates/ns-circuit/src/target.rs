//! What can be masked: layers of a module, by Hugging Face name, Burn path and kind.

use std::collections::BTreeMap;
use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::names;

/// The kind of a maskable layer, which fixes the layout of its weight and its default initialisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// Hugging Face's `nn.Linear`: `[out, in]` in its files, `[in, out]` in Burn.
    Linear,
    /// GPT-2's `Conv1D`: `[in, out]` in both.
    GptConv1d,
    /// A 1-d convolution: `[out, in/groups, k]` in both.
    Conv1d,
    /// A 2-d convolution: `[out, in/groups, kh, kw]` in both.
    Conv2d,
}

impl LayerKind {
    /// Number of dimensions of such a layer's weight.
    pub(crate) fn rank(self) -> usize {
        match self {
            Self::Linear | Self::GptConv1d => 2,
            Self::Conv1d => 3,
            Self::Conv2d => 4,
        }
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linear => "linear",
            Self::GptConv1d => "gpt_conv1d",
            Self::Conv1d => "conv1d",
            Self::Conv2d => "conv2d",
        })
    }
}

/// A layer that a mask can be put on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MaskTarget {
    /// The name that users type and files carry: the layer's name in the Hugging Face state dict.
    pub name: String,
    /// The layer's path in the Burn module, e.g. `transformer.h.0.attn.c_attn`.
    pub path: String,
    /// The layer's kind.
    pub kind: LayerKind,
}

/// The maskable layers of any module, from its own layer types: every [`Linear`](burn::nn::Linear),
/// [`Conv1d`](burn::nn::conv::Conv1d) and [`Conv2d`](burn::nn::conv::Conv2d), in the module's order.
///
/// Name and path are the same. A GPT-2 style `Conv1D` cannot be told from a linear layer by its type; the kinds differ
/// only in the layout of exported masks and in what `random_ablate` draws.
pub fn discover_targets<M: Module>(module: &M) -> Vec<MaskTarget> {
    let mut discovery = Discovery::default();
    module.visit(&mut discovery);
    discovery.targets
}

#[derive(Default)]
struct Discovery {
    path: Vec<String>,
    containers: Vec<String>,
    targets: Vec<MaskTarget>,
}

impl ModuleVisitor for Discovery {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_string());
        self.containers.push(container_type.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        let Some(("weight", layer)) = self.path.split_last().map(|(field, layer)| (field.as_str(), layer)) else {
            return;
        };
        let kind = match self.containers.last().map(String::as_str) {
            Some("Struct:Linear") => LayerKind::Linear,
            Some("Struct:Conv1d") => LayerKind::Conv1d,
            Some("Struct:Conv2d") => LayerKind::Conv2d,
            _ => return,
        };
        if kind.rank() == D {
            let path = layer.join(".");
            self.targets.push(MaskTarget { name: path.clone(), path, kind });
        }
    }
}

/// What is known of a parameter without initialising it.
#[derive(Debug, Clone)]
pub(crate) struct ParamInfo {
    /// Shape as stored.
    pub(crate) shape: Vec<usize>,
    /// Whether it lives on a device that records gradients.
    pub(crate) autodiff: bool,
    /// Whether it carries a reparameterization already.
    pub(crate) reparameterized: bool,
}

/// All float parameters of a module by path.
pub(crate) fn parameters<M: Module>(module: &M) -> BTreeMap<String, ParamInfo> {
    let mut inventory = Inventory::default();
    module.visit(&mut inventory);
    inventory.params
}

#[derive(Default)]
struct Inventory {
    path: Vec<String>,
    params: BTreeMap<String, ParamInfo>,
}

impl ModuleVisitor for Inventory {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        if container_type == "Reparameterization"
            && let Some(info) = self.params.get_mut(&self.path.join("."))
        {
            info.reparameterized = true;
        }
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let info = ParamInfo {
            shape: param.lazy_shape().as_slice().to_vec(),
            autodiff: param.lazy_device().is_autodiff(),
            reparameterized: false,
        };
        self.params.insert(self.path.join("."), info);
    }
}

/// The path of a layer's parameter.
pub(crate) fn parameter_path(layer_path: &str, field: &str) -> String {
    names::join(layer_path, field)
}
