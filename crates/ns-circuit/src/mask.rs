//! The mask on one parameter: the only place of this workspace that implements a reparameterization.

use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{
    Content, Devices, Flag, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    Reparameterization, Reparameterizer,
};
use burn::tensor::{Device, Shape, Tensor};

use crate::control::{Control, MaskInputs, PrunedMasks, flat};
use crate::methods::{Method, magnitude_pruning};

/// Path component of a mask below its parameter.
pub(crate) const MASK: &str = "mask";

/// A mask on one parameter: base `w`, effective `w ⊙ m`, plus new values where `random_ablate` puts them.
///
/// `valid()` and `train()` switch the flag; clones and both modes share the control.
#[derive(Module, Debug)]
pub(crate) struct Mask {
    /// The logits, flat and in the parameter's storage order; `None` for magnitude pruning.
    pub(crate) params: Option<Param<Tensor<1>>>,
    /// Whether the mask is in training mode.
    pub(crate) training: Param<Flag>,
    /// The masks of magnitude pruning, once computed.
    cache: PrunedCache,
    #[module(skip)]
    index: usize,
    #[module(skip)]
    control: Arc<Control>,
}

impl Reparameterization for Mask {
    const NAME: &'static str = MASK;

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let pruned = || self.cache.get_or_compute(&self.control.method, &base);
        let inputs = self.inputs(base.device(), &pruned);
        if let Some(masked) = self.control.soft_masked(self.index, &inputs, &base) {
            return masked;
        }
        let Some(mask) = self.control.mask(self.index, &inputs) else {
            return base;
        };
        let param = &self.control.masked[self.index];
        let mask = shaped(mask, &param.mask_shape, &base);
        match self.control.refill(self.index, &inputs) {
            None => base * mask,
            Some(values) => {
                let values = shaped(values, &param.shape, &base);
                let cut = mask.clone().neg().add_scalar(1.0);
                base * mask + values * cut
            }
        }
    }
}

impl Mask {
    /// What the mask is made from; `pruned` gives that of magnitude pruning.
    fn inputs<'a>(&self, device: Device, pruned: &'a dyn Fn() -> PrunedMasks) -> MaskInputs<'a> {
        let logits = self.params.as_ref().map(Param::val);
        MaskInputs { logits, training: self.training.is_enabled(), device, pruned }
    }
}

/// The mask on the outputs of a linear layer.
#[derive(Debug, Clone)]
pub struct OutputMask {
    /// Name of the layer.
    pub layer: String,
    /// The mask in force, `[output]`.
    pub mask: Tensor<1>,
}

/// The mask in force on a linear layer's weight `[input, output]`, if it is one that scales outputs as they are:
/// `x · (w ⊙ m) = (x · w) ⊙ m`. That takes a mask with neurons for units; `random_ablate` puts weights in the place of
/// others, too, and does not scale.
///
/// Masked this way, the gradient of m is `Σ (x · w) ⊙ dy` over rows, and no gradient as large as the weight is made.
pub fn output_mask(weight: &Param<Tensor<2>>) -> Option<OutputMask> {
    let mask: &Mask = weight.reparameterization()?;
    let param = &mask.control.masked[mask.index];
    if !param.scales_outputs() {
        return None;
    }
    let base = weight.base();
    let pruned = || mask.cache.get_or_compute(&mask.control.method, &base);
    let inputs = mask.inputs(base.device(), &pruned);
    if mask.control.refill(mask.index, &inputs).is_some() {
        return None;
    }
    let in_force = mask.control.mask(mask.index, &inputs)?;
    Some(OutputMask { layer: param.layer.clone(), mask: shaped(in_force, &[param.mask_len()], &base) })
}

/// `flat` in `shape`, in the type of `base`.
fn shaped<const D: usize, const B: usize>(flat: Tensor<1>, shape: &[usize], base: &Tensor<B>) -> Tensor<D> {
    let tensor: Tensor<D> = flat.reshape(Shape::from(shape.to_vec()));
    if base.dtype().is_float() && base.dtype() != tensor.dtype() { tensor.cast(base.dtype()) } else { tensor }
}

/// Both masks of a parameter's values under magnitude pruning.
pub(crate) fn prune<const D: usize>(method: &Method, base: &Tensor<D>) -> PrunedMasks {
    let values = host(base.clone());
    let device = base.device();
    match method {
        Method::MagnitudePruning { percentage, criterion } => {
            let masks = magnitude_pruning::prune(&values, *percentage, *criterion);
            PrunedMasks { hard: flat(masks.hard, &device), ablated: flat(masks.ablated, &device) }
        }
        // Other methods have logits and never come here; a mask of ones would be the base itself.
        Method::ContinuousSparsification | Method::HardConcrete(_) => {
            let n = values.len();
            PrunedMasks { hard: flat(vec![1.0; n], &device), ablated: flat(vec![0.0; n], &device) }
        }
    }
}

/// A tensor's values on the host, row-major.
///
/// # Panics
/// When the device cannot execute what the tensor waits for, as every read of Burn's does.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.to_data_as::<f32>();
    data.try_into_vec().unwrap_or_else(|error| panic!("data converted to f32 reads as f32: {error}"))
}

/// Puts masks on the parameters that the control knows.
pub(crate) struct Attach {
    pub(crate) control: Arc<Control>,
    /// First value of the logits; `None` for a method without.
    pub(crate) initial_logit: Option<f32>,
    /// The flag in the mode that the model starts in.
    pub(crate) training: Param<Flag>,
}

impl Reparameterizer for Attach {
    type Reparam = Mask;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Mask>) {
        let Some(index) = self.control.param_at(path) else {
            return (param, None);
        };
        let n = self.control.masked[index].mask_len();
        let device = param.lazy_device();
        let params = self.initial_logit.map(|logit| Param::from_tensor(Tensor::full([n], logit, &device)));
        let mask = Mask {
            params,
            training: new_flag(self.training.is_enabled()),
            cache: PrunedCache::default(),
            index,
            control: self.control.clone(),
        };
        (param, Some(mask))
    }
}

/// A training flag. One that starts disabled is that of an evaluation copy: `train()` enables it.
pub(crate) fn new_flag(enabled: bool) -> Param<Flag> {
    let flag = Param::<Flag>::from_bool(true);
    if enabled { flag } else { flag.valid() }
}

/// The masks of magnitude pruning, kept as long as the base cannot have changed.
///
/// A module's parameters change through [`Module::map`] only (an optimiser's step, a loaded record), and that passes
/// through here as well and empties the cache.
#[derive(Debug, Clone, Default)]
struct PrunedCache(Arc<Mutex<Option<PrunedMasks>>>);

impl PrunedCache {
    fn get_or_compute<const D: usize>(&self, method: &Method, base: &Tensor<D>) -> PrunedMasks {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.get_or_insert_with(|| prune(method, base)).clone()
    }
}

impl Module for PrunedCache {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _device: &Device) -> Self {
        Self::default()
    }

    fn to_device(self, _device: &Device) -> Self {
        Self::default()
    }

    fn train(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn materialize(self) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, _visitor: &mut V) {}

    fn map<M: ModuleMapper>(self, _mapper: &mut M) -> Self {
        Self::default()
    }
}

impl ModuleDisplayDefault for PrunedCache {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content)
    }
}

impl ModuleDisplay for PrunedCache {}
