//! A model whose output is vectors of its residual stream (`ResidualUpdateModel` of NeuroSurgeon).

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use ns_models::{ModelInputs, Site, Transformer, VectorCache};

use crate::config::ResidualUpdateModelConfig;
use crate::error::ProbeError;

/// Wraps a model and returns its vectors at selected sites. The forward pass stops at the last of them.
#[derive(Clone, Debug)]
pub struct ResidualUpdateModel<M> {
    model: M,
    sites: Vec<Site>,
}

impl<M: Transformer> ResidualUpdateModel<M> {
    /// Wraps `model`; `config` selects the sites.
    ///
    /// # Errors
    /// Returns the errors of [`ResidualUpdateModelConfig::check`].
    pub fn new(config: &ResidualUpdateModelConfig, model: M) -> Result<Self, ProbeError> {
        config.check(&model)?;
        Ok(Self { model, sites: config.sites() })
    }

    /// The wrapped model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Computes the vectors at the selected sites, by name of the site (`attn_update_1`).
    ///
    /// # Shapes
    /// - output: `[batch, seq, hidden]` per site
    ///
    /// # Errors
    /// Returns [`ns_models::ModelError::InvalidInput`] for inputs that do not fit the model.
    pub fn forward(&self, inputs: &ModelInputs) -> Result<BTreeMap<String, Tensor<3>>, ProbeError> {
        let mut cache = VectorCache::new(self.sites.iter().copied());
        self.model.walk(inputs, &mut cache)?;
        let vectors = self.sites.iter().filter_map(|site| Some((site.to_string(), cache.get(*site)?)));
        Ok(vectors.collect())
    }
}
