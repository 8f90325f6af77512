//! An observer that keeps a part of the vectors at several sites.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ns_models::{Flow, ModelError, Observer, Site, WalkRange};

/// Keeps what `read` returns for the values at some sites, and stops the forward pass after the last of them.
pub(crate) struct SiteReader<'a, F> {
    sites: &'a [Site],
    read: F,
    vectors: BTreeMap<Site, Tensor<2>>,
}

impl<'a, F: Fn(Tensor<3>) -> Tensor<2>> SiteReader<'a, F> {
    pub(crate) fn new(sites: &'a [Site], read: F) -> Self {
        Self { sites, read, vectors: BTreeMap::new() }
    }

    /// What was read, in the order of the sites.
    ///
    /// # Errors
    /// Returns [`ModelError::NotReached`] if the forward pass did not reach a site.
    pub(crate) fn vectors(&self) -> Result<Vec<Tensor<2>>, ModelError> {
        let vectors = |site: &Site| {
            let unreached = ModelError::NotReached { asked: *site, start: Site::Embeddings };
            self.vectors.get(site).cloned().ok_or(unreached)
        };
        self.sites.iter().map(vectors).collect()
    }
}

impl<F: Fn(Tensor<3>) -> Tensor<2>> Observer for SiteReader<'_, F> {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Flow {
        if self.sites.contains(&site) {
            self.vectors.insert(site, (self.read)(value.clone()));
        }
        match self.sites.iter().max() == Some(&site) {
            true => ControlFlow::Break(site),
            false => ControlFlow::Continue(value),
        }
    }

    fn check(&self, range: &WalkRange) -> Result<(), ModelError> {
        self.sites.iter().try_for_each(|site| range.check_site(*site))
    }
}
