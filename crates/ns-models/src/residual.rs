//! Observers of the residual stream, and the residual additions of a block.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::str::FromStr;

use burn::tensor::Tensor;

use crate::error::ModelError;
use crate::inputs::invalid;
use crate::site::{Site, Sublayer, Vector};
use crate::walk::{Flow, WalkRange};

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

/// Receives every residual-stream value of a forward pass.
pub trait Observer {
    /// Called with the value at `site`. Returns the value with which the forward pass continues (the given value or a
    /// replacement), or stops the forward pass.
    ///
    /// # Shapes
    /// - value: `[batch, seq, hidden]`, or `[batch, positions, hidden]` in a block that is computed
    ///   [at some positions only](crate::Context::only)
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Flow;

    /// Checks that the observer can work on a forward pass, before it starts. `range` says which sites it visits.
    ///
    /// # Errors
    /// Returns the errors of [`WalkRange::check_site`] for a site that is not visited, and
    /// [`ModelError::InvalidInput`] for rows, positions or values that do not fit. The default accepts everything.
    fn check(&self, _range: &WalkRange) -> Result<(), ModelError> {
        Ok(())
    }
}

/// Both observers, one after the other: the second gets the value that the first returns.
///
/// If the first stops the forward pass at a site, the second is not called at that site. So the one that stops comes
/// last: `(patch, VectorCache::new([site]))` records the patched value, whereas `(VectorCache::new([site]), patch)`
/// records the value before the patch and stops there. Of two caches, the first is created with
/// [`to_the_end`](VectorCache::to_the_end).
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Flow {
        let value = self.0.visit(site, value)?;
        self.1.visit(site, value)
    }

    fn check(&self, range: &WalkRange) -> Result<(), ModelError> {
        self.0.check(range)?;
        self.1.check(range)
    }
}

/// An observer that records and changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Observer for Ignore {
    fn visit(&mut self, _site: Site, value: Tensor<3>) -> Flow {
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

    /// Returns the value at `site`, `[batch, seq, hidden]`, or `None` if the site was not requested, or if the
    /// forward pass was stopped before it.
    pub fn get(&self, site: Site) -> Option<Tensor<3>> {
        self.vectors.get(&site).cloned()
    }
}

impl Observer for VectorCache {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Flow {
        if self.sites.contains(&site) {
            self.vectors.insert(site, value.clone());
        }
        if !self.to_the_end && self.sites.last() == Some(&site) {
            return ControlFlow::Break(site);
        }
        ControlFlow::Continue(value)
    }

    fn check(&self, range: &WalkRange) -> Result<(), ModelError> {
        self.sites.iter().try_for_each(|site| range.check_site(*site))
    }
}

/// An observer that replaces vectors at a site (activation patching). It composes with others in a tuple:
/// `(patch, VectorCache::new([site]))`.
#[derive(Clone, Debug)]
pub struct Patch {
    site: Site,
    rows: Range<usize>,
    positions: Range<usize>,
    value: Tensor<3>,
}

impl Patch {
    /// Creates a patch of some positions in some rows of the batch. In a block that is computed
    /// [at some positions only](crate::Context::only), the positions count these.
    ///
    /// # Shapes
    /// - value: `[rows, positions, hidden]`
    pub fn new(site: Site, rows: Range<usize>, positions: Range<usize>, value: Tensor<3>) -> Self {
        Self { site, rows, positions, value }
    }
}

impl Observer for Patch {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Flow {
        if site != self.site {
            return ControlFlow::Continue(value);
        }
        let [_, _, hidden] = value.dims();
        let target = [self.rows.clone(), self.positions.clone(), 0..hidden];
        ControlFlow::Continue(value.slice_assign(target, self.value.clone()))
    }

    fn check(&self, range: &WalkRange) -> Result<(), ModelError> {
        range.check_site(self.site)?;
        let [batch, seq, hidden] = range.dims_at(self.site);
        let (rows, positions) = (&self.rows, &self.positions);
        if rows.is_empty() || rows.end > batch || positions.is_empty() || positions.end > seq {
            let expected = format!("the batch has {batch} rows of {seq} positions, and a patch needs at least one");
            return Err(invalid("patch", format!("rows {rows:?}, positions {positions:?}"), expected));
        }
        let (found, expected) = (self.value.dims(), [rows.len(), positions.len(), hidden]);
        match found == expected {
            true => Ok(()),
            false => {
                let expected = format!("its rows, its positions and the model require the shape {expected:?}");
                Err(invalid("patch value", format!("{found:?}"), expected))
            }
        }
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
