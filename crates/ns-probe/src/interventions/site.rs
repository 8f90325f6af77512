//! The activations of a transformer and their names.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use burn::module::ParamId;
use ns_models::{LayerComponents, LayerKind, Location, Site, Transformer, layer_components, layer_ids};

use super::heads::{HeadInput, head_inputs};
use crate::error::ProbeError;

/// An activation of a transformer, `[batch, seq, width]`. Sites are parsed from and formatted as their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActivationSite {
    /// A vector of the residual stream, e.g. `mlp_stream_3`. Its units are the dimensions of the stream.
    Residual(Site),
    /// The results of the attention heads of a block side by side, e.g. `heads_3`: the input of the output projection of
    /// attention. Its units are the heads.
    Heads(usize),
    /// The output of a linear layer in a block, by its Hugging Face name, e.g. `transformer.h.3.mlp.c_fc`: with its bias,
    /// before an activation function. Its units are the outputs of the layer (neurons).
    Layer(String),
}

impl FromStr for ActivationSite {
    type Err = ProbeError;

    /// Any name that is neither a site of the residual stream nor `heads_<layer>` is that of a layer.
    fn from_str(name: &str) -> Result<Self, ProbeError> {
        if let Some(layer) = name.strip_prefix("heads_").and_then(|layer| layer.parse().ok()) {
            return Ok(Self::Heads(layer));
        }
        Ok(name.parse().map_or_else(|_| Self::Layer(name.into()), Self::Residual))
    }
}

impl fmt::Display for ActivationSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Residual(site) => site.fmt(f),
            Self::Heads(layer) => write!(f, "heads_{layer}"),
            Self::Layer(name) => f.write_str(name),
        }
    }
}

impl From<Site> for ActivationSite {
    fn from(site: Site) -> Self {
        Self::Residual(site)
    }
}

/// Where a forward pass has the value of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At a site of the residual stream.
    Residual(Site),
    /// At the input of the linear layer with this weight.
    Input(ParamId),
    /// At the output of the linear layer with this weight.
    Output(ParamId),
}

/// The activations of a model: where each of them is found, and which columns its units have.
#[derive(Debug)]
pub(crate) struct ModelActivations {
    sites: Vec<Site>,
    hidden_size: usize,
    layers: Vec<LayerComponents>,
    ids: BTreeMap<String, ParamId>,
    heads: BTreeMap<usize, HeadInput>,
}

impl ModelActivations {
    pub(crate) fn new<M: Transformer>(model: &M) -> Self {
        Self {
            sites: model.sites(),
            hidden_size: model.hidden_size(),
            layers: layer_components(model),
            ids: layer_ids(model).into_iter().map(|(id, name)| (name, id)).collect(),
            heads: head_inputs(model),
        }
    }

    /// Where the value of an activation is found.
    ///
    /// # Errors
    /// Returns [`ProbeError::Activation`] if the model does not have the activation.
    pub(crate) fn place(&self, site: &ActivationSite) -> Result<Place, ProbeError> {
        match site {
            ActivationSite::Residual(residual) => match self.sites.contains(residual) {
                true => Ok(Place::Residual(*residual)),
                false => Err(unknown(site, format!("the model has {}", listed(&self.sites)))),
            },
            ActivationSite::Heads(block) => Ok(Place::Input(self.heads(site, *block)?.weight)),
            ActivationSite::Layer(_) => Ok(Place::Output(self.id(self.linear_layer(site)?, site)?)),
        }
    }

    /// The columns of each unit: a dimension of the residual stream, a head, an output of a layer.
    ///
    /// # Errors
    /// Returns [`ProbeError::Activation`] if the model does not have the activation.
    pub(crate) fn units(&self, site: &ActivationSite) -> Result<Vec<Range<usize>>, ProbeError> {
        let single = |width: usize| (0..width).map(|column| column..column + 1).collect();
        match site {
            ActivationSite::Residual(_) => self.place(site).map(|_| single(self.hidden_size)),
            ActivationSite::Heads(block) => Ok(self.heads(site, *block)?.heads.clone()),
            ActivationSite::Layer(_) => Ok(single(outputs(self.linear_layer(site)?))),
        }
    }

    /// The columns of some units.
    ///
    /// # Errors
    /// Returns [`ProbeError::Activation`] if the model does not have the activation or one of its units.
    pub(crate) fn columns(&self, site: &ActivationSite, units: &[usize]) -> Result<Vec<usize>, ProbeError> {
        let all = self.units(site)?;
        let columns = |unit: &usize| {
            let range = all.get(*unit).cloned();
            range
                .ok_or_else(|| unknown(site, format!("it has {} units, counted from 0, and no unit {unit}", all.len())))
        };
        Ok(units.iter().map(columns).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The number of columns of an activation.
    ///
    /// # Errors
    /// Returns [`ProbeError::Activation`] if the model does not have the activation.
    pub(crate) fn width(&self, site: &ActivationSite) -> Result<usize, ProbeError> {
        match site {
            ActivationSite::Residual(_) => self.place(site).map(|_| self.hidden_size),
            ActivationSite::Heads(block) => Ok(self.heads(site, *block)?.width),
            ActivationSite::Layer(_) => Ok(outputs(self.linear_layer(site)?)),
        }
    }

    fn id(&self, entry: &LayerComponents, site: &ActivationSite) -> Result<ParamId, ProbeError> {
        let id = self.ids.get(&entry.layer.name).copied();
        id.ok_or_else(|| unknown(site, "the model has no such layer".into()))
    }

    /// The heads of the block of `site`.
    fn heads(&self, site: &ActivationSite, block: usize) -> Result<&HeadInput, ProbeError> {
        let found = self.heads.get(&block);
        found.ok_or_else(|| unknown(site, format!("the model has {} blocks with heads", self.heads.len())))
    }

    /// The linear layer in a block that `site` names.
    fn linear_layer(&self, site: &ActivationSite) -> Result<&LayerComponents, ProbeError> {
        let name = site.to_string();
        let Some(entry) = self.layers.iter().find(|entry| entry.layer.name == name) else {
            let layers: Vec<&str> = self.layers.iter().map(|entry| entry.layer.name.as_str()).collect();
            let expected = format!(
                "an activation is a site of the residual stream ({}), `heads_<layer>`, or one of the layers {}",
                listed(&self.sites),
                listed(&layers)
            );
            return Err(unknown(site, expected));
        };
        let reason = match (entry.layer.kind, entry.location) {
            (LayerKind::Linear | LayerKind::GptConv1d, Location::Block { stage: None, .. }) => return Ok(entry),
            (LayerKind::Conv1d | LayerKind::Conv2d, _) => {
                "it is a convolution, whose outputs are not one vector a token"
            }
            _ => "it is not in a block of a transformer",
        };
        Err(unknown(site, format!("{reason}; activations are those of linear layers in blocks")))
    }
}

/// Number of outputs of a linear layer.
fn outputs(entry: &LayerComponents) -> usize {
    entry.layer.shape[usize::from(entry.layer.kind == LayerKind::GptConv1d)]
}

/// The first and the last of many names.
fn listed<T: fmt::Display>(names: &[T]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).map(T::to_string).collect::<Vec<_>>().join(", ");
    match names.last() {
        Some(last) if names.len() > SHOWN => format!("{shown}, … {last}"),
        _ => shown,
    }
}

fn unknown(site: &ActivationSite, reason: String) -> ProbeError {
    ProbeError::Activation { asked: site.to_string(), reason }
}
