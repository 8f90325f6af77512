//! Reading masks out of a module, and writing them back.

use std::any::Any;
use std::collections::BTreeMap;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::control::{Control, PrunedMasks, Source};
use crate::mask::{MASK, prune};

/// What one masked parameter holds at present.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Index of its slot.
    pub(crate) slot: usize,
    /// The logits, the very leaf that gradients are recorded for.
    pub(crate) logits: Option<Tensor<1>>,
    training: bool,
    device: Device,
    pruned: Option<PrunedMasks>,
}

impl View {
    /// The view as what masks are made from.
    pub(crate) fn with_source<T>(&self, read: impl FnOnce(&Source<'_>) -> T) -> T {
        let pruned = || match &self.pruned {
            Some(masks) => masks.clone(),
            None => {
                let empty = Tensor::zeros([0], &self.device);
                PrunedMasks { hard: empty.clone(), ablated: empty }
            }
        };
        read(&Source {
            logits: self.logits.clone(),
            training: self.training,
            device: self.device.clone(),
            pruned: &pruned,
        })
    }

    /// The parameter's device.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the mask's training flag is enabled.
    pub(crate) fn training(&self) -> bool {
        self.training
    }
}

/// The masks of `module` that `control` knows, in the control's order. Masks that were materialized are absent.
pub(crate) fn views<M: Module>(module: &M, control: &Control) -> Vec<View> {
    let mut reader =
        Reader { control, path: Vec::new(), device: None, pruned: BTreeMap::new(), views: BTreeMap::new() };
    module.visit(&mut reader);
    reader.views.into_values().collect()
}

struct Reader<'a> {
    control: &'a Control,
    path: Vec<String>,
    /// Device of the parameter visited last: a base comes just before its mask.
    device: Option<Device>,
    pruned: BTreeMap<usize, PrunedMasks>,
    views: BTreeMap<usize, View>,
}

impl Reader<'_> {
    /// The slot whose mask has the field that is being visited.
    fn mask_slot(&self, field: &str) -> Option<usize> {
        mask_field_slot(self.control, &self.path, field)
    }

    fn view(&mut self, slot: usize) -> &mut View {
        let device = self.device.clone().unwrap_or_default();
        let pruned = self.pruned.remove(&slot);
        self.views.entry(slot).or_insert(View { slot, logits: None, training: false, device, pruned })
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
        if let Some(slot) = self.mask_slot("params") {
            let logits = (&param.val() as &dyn Any).downcast_ref::<Tensor<1>>().cloned();
            self.view(slot).logits = logits;
        } else if let Some(slot) = self.control.slot_at(&self.path.join(".")) {
            let device = param.lazy_device();
            if !self.control.method.has_logits() {
                self.pruned.insert(slot, prune(&self.control.method, &param.val()));
            }
            self.device = Some(device);
        }
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        if let Some(slot) = self.mask_slot("training") {
            self.view(slot).training = flag.is_enabled();
        }
    }
}

/// `module` with the logits of each slot replaced; `values` are flat and in storage order.
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
            mask_field_slot(self.control, &self.path, "params").and_then(|slot| self.values.remove(&slot))
        else {
            return param;
        };
        param.map(|old| {
            let data = TensorData::new(values, old.shape());
            Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
        })
    }
}

/// The slot of `<parameter>.mask.<field>`, if that is what `path` is.
fn mask_field_slot(control: &Control, path: &[String], field: &str) -> Option<usize> {
    let (last, rest) = path.split_last()?;
    let (mask, parameter) = rest.split_last()?;
    (last == field && mask == MASK).then(|| control.slot_at(&parameter.join("."))).flatten()
}
