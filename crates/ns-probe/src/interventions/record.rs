//! Recording the values of activations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;
use ns_models::{ModelInputs, ModelOutput, Transformer};

use super::hooks::Hooks;
use super::site::ActivationSite;
use crate::error::ProbeError;

/// The values of activations in the last forward pass with its hooks. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<BTreeMap<ActivationSite, Tensor<3>>>>);

impl Recorder {
    /// Adds hooks that record the values at `sites`, after the functions that `hooks` already has there.
    pub fn at(&self, sites: &[ActivationSite], hooks: Hooks) -> Hooks {
        sites.iter().fold(hooks, |hooks, site| {
            let (recorder, key) = (self.clone(), site.clone());
            hooks.at(site.clone(), move |value| {
                recorder.values().insert(key.clone(), value.clone());
                value
            })
        })
    }

    /// Returns the value at a site, `[batch, seq, width]`; `None` if it was not recorded.
    pub fn get(&self, site: &ActivationSite) -> Option<Tensor<3>> {
        self.values().get(site).cloned()
    }

    fn values(&self) -> std::sync::MutexGuard<'_, BTreeMap<ActivationSite, Tensor<3>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a forward pass and returns its output with the values at some sites.
///
/// # Errors
/// Returns the errors of [`Hooks::run`].
pub fn record_activations<M: Transformer>(
    model: &M,
    inputs: &ModelInputs,
    sites: &[ActivationSite],
) -> Result<(ModelOutput, Recorder), ProbeError> {
    let recorder = Recorder::default();
    let output = recorder.at(sites, Hooks::new()).run(model, inputs)?;
    Ok((output, recorder))
}
