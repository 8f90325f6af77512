//! Base models, frozen activations and examples that the probes of one process share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use ns_models::AnyTransformer;
use ns_probe::ActivationCache;

use crate::data::{Examples, ModelLimits};
use crate::error::TrainError;
use crate::recipe::DataSection;
use crate::run::weights_hash;

/// Default size of the activation cache per base model, in megabytes of 2²⁰ bytes.
pub const DEFAULT_ACTIVATION_CACHE_MB: usize = 1024;

/// Number of data sets that a pool keeps.
const KEPT_EXAMPLES: usize = 4;

/// A pool of frozen base models that several probes share. Each model is loaded once.
///
/// Probes on the same model share its weights, without copies, and one cache of frozen activations per data set. Each
/// probe has its own masks. Probes on the same examples share these, too.
#[derive(Debug)]
pub struct BaseModelPool {
    /// The device, without autodiff.
    device: Device,
    activation_cache_mb: usize,
    bases: Mutex<Vec<Base>>,
    /// SHA-256 of the weights, by folder.
    hashes: Mutex<BTreeMap<PathBuf, String>>,
    /// The examples that were read last, the oldest first.
    examples: Mutex<Vec<(ExamplesKey, Examples)>>,
}

/// What examples are read from: their section, the folder of the model, and what the model can read.
type ExamplesKey = (DataSection, Option<PathBuf>, ModelLimits);

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
        Self {
            device: device.clone(),
            activation_cache_mb,
            bases: Mutex::default(),
            hashes: Mutex::default(),
            examples: Mutex::default(),
        }
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

    /// The examples of a section, see [`Examples::read`]. The runs of a grid often share them, so those of the last four
    /// sections are kept.
    ///
    /// # Errors
    /// Returns the errors of [`Examples::read`].
    pub(crate) fn examples(
        &self,
        section: &DataSection,
        model_folder: Option<&Path>,
        limits: ModelLimits,
    ) -> Result<Examples, TrainError> {
        let key = (section.clone(), model_folder.map(Path::to_path_buf), limits);
        // Runs that wait for the same examples read them once.
        let mut kept = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, examples)) = kept.iter().find(|(known, _)| *known == key) {
            return Ok(examples.clone());
        }
        let examples = Examples::read(section, model_folder, limits)?;
        if kept.len() == KEPT_EXAMPLES {
            kept.remove(0);
        }
        kept.push((key, examples.clone()));
        Ok(examples)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;

    #[test]
    fn the_examples_of_the_last_four_sections_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "ids,a,b,c,d,e,set\n1 2,0,0,0,0,0,train\n3,1,1,1,1,1,train\n4,0,0,0,1,0,test\n").unwrap();
        let section = |label: &str| -> DataSection {
            let text = format!("path = \"a.csv\"\ntokens = \"ids\"\nlabel = \"{label}\"\nsplit.column = \"set\"");
            toml::from_str::<DataSection>(&text).unwrap().resolve(&folder.path().join("recipe.toml"))
        };
        let pool = BaseModelPool::new(&Device::default(), 1);
        let read = |label: &str| pool.examples(&section(label), None, ModelLimits::default());
        ["a", "b", "c", "d"].iter().for_each(|label| assert!(read(label).is_ok()));
        let table = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!([read("a"), read("d")].map(|examples| examples.unwrap().labels(&[0, 1, 2])), [[0, 1, 0], [0, 1, 1]]);
        let short = ModelLimits { max_length: Some(1), ..ModelLimits::default() };
        assert!(pool.examples(&section("a"), None, short).is_err(), "another model");
        std::fs::write(&path, table).unwrap();
        read("e").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(read("a").is_err(), "the oldest is dropped");
        assert!(read("b").is_ok() && read("e").is_ok());
    }
}
