//! Base models and frozen activations that the probes of one process share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use ns_models::AnyTransformer;
use ns_probe::ActivationCache;

use crate::error::TrainError;
use crate::run::weights_hash;

/// Default size of the activation cache per base model, in megabytes of 2²⁰ bytes.
pub const DEFAULT_ACTIVATION_CACHE_MB: usize = 1024;

/// A pool of frozen base models that several probes share. Each model is loaded once.
///
/// Probes on the same model share its weights, without copies, and one cache of frozen activations per data set. Each
/// probe has its own masks.
#[derive(Debug)]
pub struct BaseModelPool {
    /// The device, without autodiff.
    device: Device,
    activation_cache_mb: usize,
    bases: Mutex<Vec<Base>>,
    /// SHA-256 of the weights, by folder.
    hashes: Mutex<BTreeMap<PathBuf, String>>,
}

#[derive(Debug)]
struct Base {
    /// Identifies model and data.
    key: String,
    model: AnyTransformer,
    activations: ActivationCache,
}

impl BaseModelPool {
    /// Creates an empty pool. `device` must be without autodiff.
    ///
    /// `activation_cache_mb` limits the activation cache of each base model, in megabytes of 2²⁰ bytes. With 0 there is
    /// no cache, and frozen activations are computed again in every epoch.
    pub fn new(device: &Device, activation_cache_mb: usize) -> Self {
        Self { device: device.clone(), activation_cache_mb, bases: Mutex::default(), hashes: Mutex::default() }
    }

    /// The device of the models, without autodiff.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the model and a handle to its activation cache for one more probe. `key` identifies model and data. If
    /// the pool has no model for this key, `load` loads it.
    pub(crate) fn get(
        &self,
        key: String,
        load: impl FnOnce() -> Result<AnyTransformer, TrainError>,
    ) -> Result<(AnyTransformer, ActivationCache), TrainError> {
        // A panic in another thread cannot leave a partial entry, so a poisoned lock is safe to use.
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(base) = bases.iter().find(|base| base.key == key) {
            return Ok((base.model.clone(), base.activations.another()));
        }
        let (model, activations) = (load()?, ActivationCache::with_megabytes(self.activation_cache_mb));
        let another = activations.another();
        bases.push(Base { key, model: model.clone(), activations });
        Ok((model, another))
    }

    /// SHA-256 of the weights in a model folder, see [`weights_hash`]. Each folder is read once.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if a file cannot be read.
    pub(crate) fn weights_hash(&self, folder: &Path) -> Result<String, TrainError> {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hash) = hashes.get(folder) {
            return Ok(hash.clone());
        }
        let hash = weights_hash(folder)?;
        hashes.insert(folder.into(), hash.clone());
        Ok(hash)
    }
}
