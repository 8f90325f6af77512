//! The residual stream: its sites, and who looks at them.

use std::{collections::BTreeMap, ops::ControlFlow, str::FromStr};

use burn::tensor::Tensor;

use crate::error::ModelError;
use crate::positions::{Positions, at_positions};
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

/// Go on with this value, or stop the walk.
pub type Walk = ControlFlow<Site, Tensor<3>>;

/// Somebody who looks at every site that a walk passes.
pub trait Observer {
    /// Takes the value at `site`, `[batch, seq, hidden]`, and gives back the value to go on with (the same one, or a
    /// patch), or stops the walk.
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Walk;
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Observer for Ignore {
    fn visit(&mut self, _site: Site, value: Tensor<3>) -> Walk {
        ControlFlow::Continue(value)
    }
}

/// A block's residual additions in models whose LayerNorms come first: `x ← x + attention(x)`, `x ← x + mlp(x)`.
/// Both report the update and the stream after it.
///
/// # Shapes
/// - hidden: `[batch, seq, hidden]`
/// - attention: `[batch, seq, hidden]` → `[batch, positions, hidden]`, its LayerNorm included
/// - mlp and output: `[batch, positions, hidden]`
pub(crate) fn pre_ln_block(
    layer: usize,
    hidden: Tensor<3>,
    positions: Option<&Positions>,
    observer: &mut dyn Observer,
    attention: impl FnOnce(Tensor<3>) -> Tensor<3>,
    mlp: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Walk {
    let update = attention(hidden.clone());
    let hidden = add_update(layer, Sublayer::Attn, at_positions(hidden, positions), update, observer)?;
    pre_ln_mlp(layer, hidden, observer, mlp)
}

/// The second of these additions.
///
/// # Shapes
/// - hidden, mlp and output: `[batch, positions, hidden]`
pub(crate) fn pre_ln_mlp(
    layer: usize,
    hidden: Tensor<3>,
    observer: &mut dyn Observer,
    mlp: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Walk {
    let update = mlp(hidden.clone());
    add_update(layer, Sublayer::Mlp, hidden, update, observer)
}

fn add_update(
    layer: usize,
    sublayer: Sublayer,
    hidden: Tensor<3>,
    update: Tensor<3>,
    observer: &mut dyn Observer,
) -> Walk {
    let update = observer.visit(Site::new(sublayer, Vector::Update, layer), update)?;
    observer.visit(Site::new(sublayer, Vector::Stream, layer), hidden + update)
}

/// The embeddings, and updates and streams of attention and MLP in each of `n_layers` blocks.
pub(crate) fn all_sites(n_layers: usize) -> Vec<Site> {
    let blocks = (0..n_layers).flat_map(|layer| {
        let components = [Sublayer::Attn, Sublayer::Mlp].into_iter();
        components.flat_map(move |part| [Vector::Update, Vector::Stream].map(|vector| Site::new(part, vector, layer)))
    });
    std::iter::once(Site::Embeddings).chain(blocks).collect()
}

/// Keeps the vectors of chosen sites, and stops the walk once it has the last of them.
#[derive(Clone, Debug, Default)]
pub struct VectorCache {
    wanted: Vec<Site>,
    vectors: BTreeMap<Site, Tensor<3>>,
    to_the_end: bool,
}

impl VectorCache {
    /// A cache for these sites; it stops the walk at the last.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        let mut wanted: Vec<_> = sites.into_iter().collect();
        wanted.sort_unstable();
        Self { wanted, ..Self::default() }
    }

    /// The same, but the walk goes on to the head.
    pub fn to_the_end(mut self) -> Self {
        self.to_the_end = true;
        self
    }

    /// The vector at `site`, `[batch, seq, hidden]`, if it was asked for and the walk came there.
    pub fn get(&self, site: Site) -> Option<Tensor<3>> {
        self.vectors.get(&site).cloned()
    }
}

impl Observer for VectorCache {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Walk {
        if self.wanted.contains(&site) {
            self.vectors.insert(site, value.clone());
        }
        if !self.to_the_end && self.wanted.last() == Some(&site) {
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
