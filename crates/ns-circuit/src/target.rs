//! The layers of a module that can be masked, by Hugging Face name, Burn path and kind.

use std::collections::BTreeMap;
use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::names;

/// The kind of a maskable layer. It determines the layout of the weight and the initialisation under `random_ablate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LayerKind {
    /// A linear layer (`nn.Linear`). Its weight is `[out, in]` in Hugging Face's files and `[in, out]` in Burn.
    Linear,
    /// A linear layer that Hugging Face stores as GPT-2's `Conv1D`. Its weight is `[in, out]` in both.
    GptConv1d,
    /// A 1-d convolution. Its weight is `[out, in/groups, k]` in both.
    Conv1d,
    /// A 2-d convolution. Its weight is `[out, in/groups, kh, kw]` in both.
    Conv2d,
}

impl LayerKind {
    /// Number of dimensions of the layer's weight.
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

/// A layer that can be masked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MaskTarget {
    /// Name of the layer in the Hugging Face state dict. Configurations and mask files use this name.
    pub name: String,
    /// Path of the layer in the Burn module, for example `transformer.h.0.attn.c_attn`.
    pub path: String,
    /// Kind of the layer.
    pub kind: LayerKind,
}

/// Finds the maskable layers of any module: every [`Linear`](burn::nn::Linear), [`Conv1d`](burn::nn::conv::Conv1d) and
/// [`Conv2d`](burn::nn::conv::Conv2d), in the order of the module. The path of a layer also serves as its name.
///
/// Layers are recognised by the name of their type. A type `Conv1D` with the fields of Burn's `Linear`, as in the
/// GPT-2 of ns-models, is a [`LayerKind::GptConv1d`].
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
            Some("Struct:Conv1D") => LayerKind::GptConv1d,
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

/// Facts about a parameter that can be read without initialising it.
#[derive(Debug, Clone)]
pub(crate) struct ParamInfo {
    /// Shape of the parameter in Burn.
    pub(crate) shape: Vec<usize>,
    /// Its device.
    pub(crate) device: Device,
    /// Whether it already has a reparameterization.
    pub(crate) reparameterized: bool,
}

/// All float parameters of a module, by path.
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
            device: param.lazy_device(),
            reparameterized: false,
        };
        self.params.insert(self.path.join("."), info);
    }
}

/// The path of the parameter `field` of a layer.
pub(crate) fn parameter_path(layer_path: &str, field: &str) -> String {
    names::join(layer_path, field)
}
