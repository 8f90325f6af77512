//! A model that gives vectors of its residual stream, NeuroSurgeon's `ResidualUpdateModel`.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use ns_models::{ModelInputs, Site, Transformer, VectorCache};

use crate::config::ResidualUpdateModelConfig;
use crate::error::ProbeError;

/// Reads chosen sites of a model; nothing above the last of them is computed.
#[derive(Clone, Debug)]
pub struct ResidualUpdateModel<M> {
    model: M,
    sites: Vec<Site>,
}

impl<M: Transformer> ResidualUpdateModel<M> {
    /// Reads what `config` names.
    ///
    /// # Errors
    /// [`ProbeError::Config`], [`ns_models::ModelError::NoSuchSite`].
    pub fn new(config: &ResidualUpdateModelConfig, model: M) -> Result<Self, ProbeError> {
        config.check(&model)?;
        Ok(Self { model, sites: config.sites() })
    }

    /// The wrapped model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The vectors by name (`attn_update_1`), each `[batch, seq, hidden]`.
    ///
    /// # Errors
    /// [`ns_models::ModelError::InvalidInput`].
    pub fn forward(&self, inputs: &ModelInputs) -> Result<BTreeMap<String, Tensor<3>>, ProbeError> {
        let mut cache = VectorCache::new(self.sites.iter().copied());
        self.model.walk(inputs, &mut cache)?;
        let vectors = self.sites.iter().filter_map(|site| Some((site.to_string(), cache.get(*site)?)));
        Ok(vectors.collect())
    }
}
