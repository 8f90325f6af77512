//! What a forward pass with an observer visits, how it goes on at each site, and how it ends.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::context::Context;
use crate::error::ModelError;
use crate::inputs::ModelOutput;
use crate::site::Site;

/// How a forward pass goes on after a site: with a value, or not at all. A stop names the site.
pub type Flow = ControlFlow<Site, Tensor<3>>;

/// The result of a forward pass with an [`Observer`](crate::Observer).
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // there is one value per forward pass
pub enum WalkOutcome {
    /// The forward pass reached the head.
    Finished(ModelOutput),
    /// The observer stopped the forward pass at this site.
    Stopped(Site),
}

impl WalkOutcome {
    /// Returns the output of the head.
    ///
    /// # Errors
    /// Returns [`ModelError::StoppedEarly`] if the observer stopped the forward pass.
    pub fn output(self) -> Result<ModelOutput, ModelError> {
        match self {
            Self::Finished(output) => Ok(output),
            Self::Stopped(at) => Err(ModelError::StoppedEarly { at }),
        }
    }
}

/// The sites that a forward pass visits, and the sizes of their vectors.
#[derive(Clone, Debug)]
pub struct WalkRange {
    /// All sites of the model.
    sites: Vec<Site>,
    /// The site after which the forward pass starts, or `None` if it starts from the inputs.
    start: Option<Site>,
    /// Size of the residual stream, `[batch, seq, hidden]`.
    dims: [usize; 3],
    /// A block that is computed at some positions only, and their number.
    narrowed: Option<(usize, usize)>,
}

impl WalkRange {
    /// The sites after `start`, or all `sites` of a model if there is no `start`.
    pub(crate) fn new(sites: Vec<Site>, start: Option<Site>, context: &Context, hidden_size: usize) -> Self {
        let [batch, seq] = context.dims;
        let narrowed = context.narrowed.as_ref().map(|(layer, positions)| (*layer, positions.count()));
        Self { sites, start, dims: [batch, seq, hidden_size], narrowed }
    }

    /// Checks that the forward pass visits a site.
    ///
    /// # Errors
    /// Returns [`ModelError::NoSuchSite`] if the model does not have the site, and [`ModelError::NotReached`] if it is
    /// not after the start.
    pub fn check_site(&self, site: Site) -> Result<(), ModelError> {
        check_site(&self.sites, site)?;
        match self.start {
            Some(start) if site <= start => Err(ModelError::NotReached { asked: site, start }),
            _ => Ok(()),
        }
    }

    /// Returns the size of the vectors at a site: `[batch, seq, hidden]`, or `[batch, positions, hidden]` in a block
    /// that is computed [at some positions only](crate::Context::only).
    pub fn dims_at(&self, site: Site) -> [usize; 3] {
        let [batch, seq, hidden] = self.dims;
        let narrowed = self.narrowed.filter(|(layer, _)| site.layer() == Some(*layer));
        [batch, narrowed.map_or(seq, |(_, positions)| positions), hidden]
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
