//! Observers of the residual stream, and the residual additions of a block.

use std::{collections::BTreeMap, ops::ControlFlow, str::FromStr};

use burn::tensor::Tensor;

use crate::error::ModelError;
use crate::site::{Site, Sublayer, Vector};

impl FromStr for Site {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let unknown = || ModelError::NoSuchSite {
            asked: name.into(),
            reason: "a site is `embeddings` or `<attn|mlp>_<update|stream>_<layer>`, e.g. `attn_update_0`".into(),
        };
        if name == "embeddings" {
            return Ok(Self::Embeddings);
        }
        let mut parts = name.splitn(3, '_');
        let sublayer = match parts.next() {
            Some("attn") => Sublayer::Attn,
            Some("mlp") => Sublayer::Mlp,
            _ => return Err(unknown()),
        };
        let vector = match parts.next() {
            Some("update") => Vector::Update,
            Some("stream") => Vector::Stream,
            _ => return Err(unknown()),
        };
        let layer = parts.next().and_then(|layer| layer.parse().ok()).ok_or_else(unknown)?;
        Ok(Self::new(sublayer, vector, layer))
    }
}

/// Whether a forward pass continues with a value or stops at a site.
pub type Walk = ControlFlow<Site, Tensor<3>>;

/// Receives every residual-stream value of a forward pass.
pub trait Observer {
    /// Called with the value at `site`. Returns the value with which the forward pass continues (the given value or a
    /// replacement), or stops the forward pass.
    ///
    /// # Shapes
    /// - value: `[batch, seq, hidden]`, or `[batch, positions, hidden]` in a block that is computed
    ///   [at some positions only](crate::Context::only)
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Walk;
}

/// An observer that records and changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Observer for Ignore {
    fn visit(&mut self, _site: Site, value: Tensor<3>) -> Walk {
        ControlFlow::Continue(value)
    }
}

/// An observer that records the values at chosen sites and stops the forward pass after the last one.
#[derive(Clone, Debug, Default)]
pub struct VectorCache {
    sites: Vec<Site>,
    vectors: BTreeMap<Site, Tensor<3>>,
    to_the_end: bool,
}

impl VectorCache {
    /// Creates a cache for the given sites. It stops the forward pass after the last of them; without sites it does not
    /// stop it.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        let mut sites: Vec<_> = sites.into_iter().collect();
        sites.sort_unstable();
        Self { sites, ..Self::default() }
    }

    /// Lets the forward pass continue to the head after the last site.
    pub fn to_the_end(mut self) -> Self {
        self.to_the_end = true;
        self
    }

    /// Returns the value at `site`, `[batch, seq, hidden]`, or `None` if the site was not requested or not reached.
    pub fn get(&self, site: Site) -> Option<Tensor<3>> {
        self.vectors.get(&site).cloned()
    }
}

impl Observer for VectorCache {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Walk {
        if self.sites.contains(&site) {
            self.vectors.insert(site, value.clone());
        }
        if !self.to_the_end && self.sites.last() == Some(&site) {
            return ControlFlow::Break(site);
        }
        ControlFlow::Continue(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_bad_ones_explain() {
        for name in ["embeddings", "attn_update_0", "attn_stream_11", "mlp_update_3", "mlp_stream_5"] {
            assert_eq!(name.parse::<Site>().unwrap().to_string(), name);
        }
        for name in ["", "attn", "attn_update", "attn_update_x", "attn_update_-1", "head_update_1"] {
            assert!(name.parse::<Site>().unwrap_err().to_string().contains("attn_update_0"));
        }
    }

    #[test]
    fn sites_are_ordered_as_a_walk_meets_them() {
        let sites = ["embeddings", "attn_update_0", "attn_stream_0", "mlp_update_0", "mlp_stream_0", "attn_update_1"];
        let sites: Vec<Site> = sites.iter().map(|s| s.parse().unwrap()).collect();
        assert!(sites.is_sorted());
    }
}
