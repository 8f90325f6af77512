//! Reads the masks out of a module, and writes mask parameters back.

use std::any::Any;
use std::collections::BTreeMap;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::control::{Control, MaskInputs, PrunedMasks};
use crate::mask::{MASK, prune};

/// The current mask of one parameter, read out of the module.
#[derive(Debug, Clone)]
pub(crate) struct MaskSnapshot {
    /// Index of the parameter in the control.
    pub(crate) index: usize,
    /// The logits `[n]`, as the leaf tensor that gradients are recorded for; `None` for magnitude pruning.
    pub(crate) logits: Option<Tensor<1>>,
    training: bool,
    device: Device,
    pruned: Option<PrunedMasks>,
}

impl MaskSnapshot {
    /// Calls `read` with the snapshot as mask inputs.
    pub(crate) fn with_inputs<T>(&self, read: impl FnOnce(&MaskInputs<'_>) -> T) -> T {
        let pruned = || match &self.pruned {
            Some(masks) => masks.clone(),
            None => {
                let empty = Tensor::zeros([0], &self.device);
                PrunedMasks { hard: empty.clone(), ablated: empty }
            }
        };
        read(&MaskInputs {
            logits: self.logits.clone(),
            training: self.training,
            device: self.device.clone(),
            pruned: &pruned,
        })
    }

    /// Device of the parameter.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the mask's training flag is enabled.
    pub(crate) fn training(&self) -> bool {
        self.training
    }
}

/// Reads the masks of `module` that are listed in `control`, in the order of the control. Masks that were materialized
/// are left out.
pub(crate) fn snapshots<M: Module>(module: &M, control: &Control) -> Vec<MaskSnapshot> {
    let mut reader =
        Reader { control, path: Vec::new(), device: None, pruned: BTreeMap::new(), snapshots: BTreeMap::new() };
    module.visit(&mut reader);
    reader.snapshots.into_values().collect()
}

struct Reader<'a> {
    control: &'a Control,
    path: Vec<String>,
    /// Device of the last visited parameter. A base weight is visited just before its mask.
    device: Option<Device>,
    pruned: BTreeMap<usize, PrunedMasks>,
    snapshots: BTreeMap<usize, MaskSnapshot>,
}

impl Reader<'_> {
    /// The index of the parameter whose mask is being visited, if the current path is its `field`.
    fn mask_index(&self, field: &str) -> Option<usize> {
        mask_field_index(self.control, &self.path, field)
    }

    fn snapshot(&mut self, index: usize) -> &mut MaskSnapshot {
        let device = self.device.clone().unwrap_or_default();
        let pruned = self.pruned.remove(&index);
        self.snapshots.entry(index).or_insert(MaskSnapshot { index, logits: None, training: false, device, pruned })
    }
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(index) = self.mask_index("params") {
            let logits = (&param.val() as &dyn Any).downcast_ref::<Tensor<1>>().cloned();
            self.snapshot(index).logits = logits;
        } else if let Some(index) = self.control.param_at(&self.path.join(".")) {
            let device = param.lazy_device();
            if !self.control.method.has_logits() {
                self.pruned.insert(index, prune(&self.control.method, &param.val()));
            }
            self.device = Some(device);
        }
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        if let Some(index) = self.mask_index("training") {
            self.snapshot(index).training = flag.is_enabled();
        }
    }
}

/// Replaces the logits of the masks in `module`. `values` holds flat logits in storage order, by parameter index.
pub(crate) fn with_logits<M: Module>(module: M, control: &Control, values: BTreeMap<usize, Vec<f32>>) -> M {
    module.map(&mut Writer { control, path: Vec::new(), values })
}

struct Writer<'a> {
    control: &'a Control,
    path: Vec<String>,
    values: BTreeMap<usize, Vec<f32>>,
}

impl ModuleMapper for Writer<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) =
            mask_field_index(self.control, &self.path, "params").and_then(|index| self.values.remove(&index))
        else {
            return param;
        };
        param.map(|old| {
            let data = TensorData::new(values, old.shape());
            Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
        })
    }
}

/// The index of the parameter, if `path` is `<parameter>.mask.<field>`.
fn mask_field_index(control: &Control, path: &[String], field: &str) -> Option<usize> {
    let (last, rest) = path.split_last()?;
    let (mask, parameter) = rest.split_last()?;
    (last == field && mask == MASK).then(|| control.param_at(&parameter.join("."))).flatten()
}
