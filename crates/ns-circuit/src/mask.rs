//! The mask on one parameter, as a Burn reparameterization (the only one in this workspace).

use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{
    Content, Devices, Flag, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    Reparameterization, Reparameterizer,
};
use burn::tensor::{Device, Shape, Tensor};

use crate::control::{Control, MaskInputs, PrunedMasks, flat};
use crate::methods::{Method, magnitude_pruning};

/// Name of a mask in the module path, below its parameter.
pub(crate) const MASK: &str = "mask";

/// A mask on one parameter: it turns the base weight `w` into the effective weight `w ⊙ m`. Under `random_ablate`, new
/// values replace the removed entries.
///
/// `valid()` and `train()` switch the training flag. All copies share the control.
#[derive(Module, Debug)]
pub(crate) struct Mask {
    /// The logits `[n]`, in the storage order of the parameter; `None` for magnitude pruning.
    pub(crate) params: Option<Param<Tensor<1>>>,
    /// Whether the mask is in training mode.
    pub(crate) training: Param<Flag>,
    /// The masks of magnitude pruning, once computed.
    cache: PrunedCache,
    /// Index of the parameter in the control.
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
                let removed = mask.clone().neg().add_scalar(1.0);
                base * mask + values * removed
            }
        }
    }
}

impl Mask {
    /// The inputs of the mask. `pruned` returns the masks of magnitude pruning.
    fn inputs<'a>(&self, device: Device, pruned: &'a dyn Fn() -> PrunedMasks) -> MaskInputs<'a> {
        let logits = self.params.as_ref().map(Param::val);
        MaskInputs { logits, training: self.training.is_enabled(), device, pruned }
    }
}

/// The neuron mask of a linear layer, to be multiplied with the layer's outputs.
#[derive(Debug, Clone)]
pub struct OutputMask {
    /// Name of the layer.
    pub layer: String,
    /// The active mask, `[out]`.
    pub mask: Tensor<1>,
}

/// Returns the active mask of a linear layer's weight `[in, out]`, if it can be applied to the outputs of the layer
/// instead of the weight: `x · (w ⊙ m) = (x · w) ⊙ m`.
///
/// This works for neuron masks. Returns `None` for a weight without a mask, for a mask of single weights, for a mask
/// that is off, and under [`Ablation::RandomAblate`](crate::Ablation::RandomAblate), which also adds new weights.
///
/// With `y = (x · w) ⊙ m`, the gradient of `m` is the sum of `(x · w) ⊙ dy` over the rows of `x`, so the backward pass
/// needs no gradient of the size of the weight.
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
    let active = mask.control.mask(mask.index, &inputs)?;
    Some(OutputMask { layer: param.layer.clone(), mask: shaped(active, &[param.mask_len()], &base) })
}

/// Reshapes `flat` to `shape` and casts it to the dtype of `base`.
fn shaped<const D: usize, const B: usize>(flat: Tensor<1>, shape: &[usize], base: &Tensor<B>) -> Tensor<D> {
    let tensor: Tensor<D> = flat.reshape(Shape::from(shape.to_vec()));
    if base.dtype().is_float() && base.dtype() != tensor.dtype() { tensor.cast(base.dtype()) } else { tensor }
}

/// Computes the two masks of magnitude pruning for a parameter.
pub(crate) fn prune<const D: usize>(method: &Method, base: &Tensor<D>) -> PrunedMasks {
    let values = host(base.clone());
    let device = base.device();
    match method {
        Method::MagnitudePruning { percentage, criterion } => {
            let masks = magnitude_pruning::prune(&values, *percentage, *criterion);
            PrunedMasks { hard: flat(masks.hard, &device), ablated: flat(masks.ablated, &device) }
        }
        // Other methods have logits and never get here. A mask of ones would keep the base unchanged.
        Method::ContinuousSparsification | Method::HardConcrete(_) => {
            let n = values.len();
            PrunedMasks { hard: flat(vec![1.0; n], &device), ablated: flat(vec![0.0; n], &device) }
        }
    }
}

/// Reads the values of a tensor to the host as `f32`, in row-major order.
///
/// # Panics
/// Panics if the device fails to execute pending operations, like every tensor read in Burn.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.to_data_as::<f32>();
    data.try_into_vec().unwrap_or_else(|error| panic!("data that was converted to f32 is not f32: {error}"))
}

/// Puts masks on the parameters that are listed in the control.
pub(crate) struct Attach {
    pub(crate) control: Arc<Control>,
    /// Initial value of the logits; `None` for a method without logits.
    pub(crate) initial_logit: Option<f32>,
    /// The training flag in the initial mode of the model.
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

/// Creates a training flag. A disabled flag is created as the flag of an evaluation copy, so that `train()` enables it.
pub(crate) fn new_flag(enabled: bool) -> Param<Flag> {
    let flag = Param::<Flag>::from_bool(true);
    if enabled { flag } else { flag.valid() }
}

/// Cache for the masks of magnitude pruning, which are valid until the base weight changes.
///
/// The parameters of a module change only through [`Module::map`] (an optimiser step, a loaded record). The cache is
/// part of the module, so `map` visits it too and empties it.
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
