//! Observers of the residual stream, and the residual additions of a block.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::str::FromStr;

use burn::tensor::Tensor;

use crate::error::ModelError;
use crate::inputs::invalid;
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

    /// Checks that the observer can work on a forward pass, before it starts. `sites` are those of the model, and
    /// `dims` is the size `[batch, seq, hidden]` of the residual stream.
    ///
    /// # Errors
    /// Returns [`ModelError::NoSuchSite`] for a site that the model does not have, and [`ModelError::InvalidInput`] for
    /// rows, positions or values that do not fit. The default accepts everything.
    fn check(&self, _sites: &[Site], _dims: [usize; 3]) -> Result<(), ModelError> {
        Ok(())
    }
}

/// Both observers, one after the other: the second gets the value that the first returns.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Walk {
        let value = self.0.visit(site, value)?;
        self.1.visit(site, value)
    }

    fn check(&self, sites: &[Site], dims: [usize; 3]) -> Result<(), ModelError> {
        self.0.check(sites, dims)?;
        self.1.check(sites, dims)
    }
}

/// Checks that `site` is one of `sites`, which are those of a model.
///
/// # Errors
/// Returns [`ModelError::NoSuchSite`] if it is not.
pub(crate) fn check_site(sites: &[Site], site: Site) -> Result<(), ModelError> {
    if sites.contains(&site) {
        return Ok(());
    }
    let last = sites.iter().filter_map(|known| known.layer()).max();
    let reason = match (site.layer(), last) {
        (Some(layer), Some(last)) if layer > last => format!("it has {} blocks, counted from 0", last + 1),
        _ => {
            let known: Vec<_> = sites.iter().map(Site::to_string).collect();
            format!("its sites are {}", known.join(", "))
        }
    };
    Err(ModelError::NoSuchSite { asked: site.to_string(), reason })
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

    fn check(&self, sites: &[Site], _dims: [usize; 3]) -> Result<(), ModelError> {
        self.sites.iter().try_for_each(|site| check_site(sites, *site))
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
    /// Creates a patch of some positions in some rows of the batch.
    ///
    /// # Shapes
    /// - value: `[rows, positions, hidden]`
    pub fn new(site: Site, rows: Range<usize>, positions: Range<usize>, value: Tensor<3>) -> Self {
        Self { site, rows, positions, value }
    }
}

impl Observer for Patch {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Walk {
        if site != self.site {
            return ControlFlow::Continue(value);
        }
        let [_, _, hidden] = value.dims();
        let target = [self.rows.clone(), self.positions.clone(), 0..hidden];
        ControlFlow::Continue(value.slice_assign(target, self.value.clone()))
    }

    fn check(&self, sites: &[Site], dims: [usize; 3]) -> Result<(), ModelError> {
        check_site(sites, self.site)?;
        let [batch, seq, hidden] = dims;
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
