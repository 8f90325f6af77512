//! What the probes of one process share: base models, and what no mask changes of them.

use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use ns_models::AnyTransformer;
use ns_probe::ActivationCache;

use crate::error::TrainError;

/// Megabytes of frozen activations that are kept unless the caller says otherwise.
pub const DEFAULT_ACTIVATION_CACHE_MB: usize = 1024;

/// Base models, each read once, with the frozen activations of each on its data.
///
/// Frozen weights are shared, not copied, by all probes on them; each has its own masks.
#[derive(Debug)]
pub struct BaseModelPool {
    /// Without autodiff.
    device: Device,
    activation_cache_mb: usize,
    bases: Mutex<Vec<Base>>,
}

#[derive(Debug)]
struct Base {
    /// Model and data.
    key: String,
    model: AnyTransformer,
    activations: ActivationCache,
}

impl BaseModelPool {
    /// No bases yet. Up to so many megabytes of what no mask changes are kept for each; with 0 all is computed in every
    /// epoch. `device` is without autodiff.
    pub fn new(device: &Device, activation_cache_mb: usize) -> Self {
        Self { device: device.clone(), activation_cache_mb, bases: Mutex::default() }
    }

    /// Where to compute, without autodiff.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The model and a cache for another probe on it. `key` stands for model and data together; what is not here yet is
    /// loaded.
    pub(crate) fn get(
        &self,
        key: String,
        load: impl FnOnce() -> Result<AnyTransformer, TrainError>,
    ) -> Result<(AnyTransformer, ActivationCache), TrainError> {
        // A panic elsewhere cannot leave a base half-written, so poison is ignored.
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(base) = bases.iter().find(|base| base.key == key) {
            return Ok((base.model.clone(), base.activations.another()));
        }
        let (model, activations) = (load()?, ActivationCache::with_megabytes(self.activation_cache_mb));
        let another = activations.another();
        bases.push(Base { key, model: model.clone(), activations });
        Ok((model, another))
    }
}
