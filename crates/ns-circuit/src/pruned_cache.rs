//! The cache for the masks of magnitude pruning.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::{Device, Tensor};

/// The masks of magnitude pruning as tensors, `[n]`, see
/// [`Pruned`](crate::methods::magnitude_pruning::Pruned).
#[derive(Debug, Clone)]
pub(crate) struct PrunedMasks {
    pub(crate) hard: Tensor<1>,
    pub(crate) ablated: Tensor<1>,
}

/// Cache for the masks of magnitude pruning, which are valid until the base weight changes.
///
/// The parameters of a module change only through [`Module::map`] (an optimiser step, a loaded record). The cache is
/// part of the module, so `map` visits it too and empties it.
#[derive(Debug, Clone, Default)]
pub(crate) struct PrunedCache(Arc<Mutex<Option<PrunedMasks>>>);

impl PrunedCache {
    /// Stores the result of `prune`, unless the cache is filled.
    pub(crate) fn fill(&self, prune: impl FnOnce() -> PrunedMasks) {
        self.lock().get_or_insert_with(prune);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_none()
    }

    /// The masks. They have no entries if the cache is empty.
    pub(crate) fn get(&self) -> PrunedMasks {
        self.lock().clone().unwrap_or_else(|| {
            let empty = Tensor::zeros([0], &Device::default());
            PrunedMasks { hard: empty.clone(), ablated: empty }
        })
    }

    /// A panic in another thread cannot leave the cache half-written, so lock poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, Option<PrunedMasks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
