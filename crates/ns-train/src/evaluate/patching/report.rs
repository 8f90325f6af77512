//! Results of activation patching, by layer and position.

use std::fmt;

use ns_models::{Site, Sublayer, Vector};
use ns_probe::ActivationSite;
use serde::{Deserialize, Serialize};

use crate::recipe::{Metric, SetName};

/// Results of activation patching: how much of the model's behaviour on the examples (the *clean* runs) each activation
/// restores in the runs on their partners (the *corrupted* runs).
///
/// A normalised value is `(patched − corrupted) / (clean − corrupted)`: 0 if the activation restores nothing, 1 if it
/// restores all. It may be below 0 or above 1. What has no value is `None`, in JSON null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchReport {
    /// Folder of the model.
    pub model: String,
    /// The data, as results name them.
    pub data: String,
    /// The set of the examples.
    pub set: SetName,
    /// Number of examples.
    pub examples: usize,
    /// What is measured: the logit difference of `[behaviour]`, averaged over the answers of the examples.
    pub metric: Metric,
    /// Mean of the metric in the clean runs.
    pub clean: f64,
    /// Mean of the metric in the corrupted runs.
    pub corrupted: f64,
    /// From where positions are counted.
    pub counted_from: CountedFrom,
    /// The positions: the columns of all maps but that of the heads.
    pub positions: Vec<PatchPosition>,
    /// A map for each kind of site.
    pub maps: Vec<PatchMap>,
}

/// From where positions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedFrom {
    /// From the first token, which is 0: all examples have the same number of tokens.
    Start,
    /// From the last token, which is −1: the examples have different numbers of tokens.
    End,
}

/// A position, and the examples that have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchPosition {
    /// The position, counted from the start or the end, with the tokens that the tokenizer adds.
    pub index: i64,
    /// The token of the first example here, if all examples have the same number of tokens.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token: Option<String>,
    /// Number of examples that have the position.
    pub examples: usize,
    /// Mean of the metric in the clean runs of these examples. It normalises the values of the column.
    pub clean: f64,
    /// Mean of the metric in the corrupted runs of these examples.
    pub corrupted: f64,
}

/// The values of one kind of site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchMap {
    /// The kind of site.
    pub kind: PatchKind,
    /// The sites, in the order of a forward pass.
    pub rows: Vec<PatchRow>,
}

/// The values of one site: one for each position, or one for each head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchRow {
    /// Name of the site, e.g. `attn_update_3` or `heads_3`.
    pub site: String,
    /// Normalised values.
    pub normalised: Vec<Option<f64>>,
    /// Means of the metric, not normalised.
    pub patched: Vec<Option<f64>>,
}

/// A kind of site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchKind {
    /// The residual stream after each block, and the embeddings before the first: `embeddings`, `mlp_stream_<layer>`.
    Resid,
    /// The residual stream between attention and MLP: `attn_stream_<layer>`.
    AttnStream,
    /// What attention adds to the stream: `attn_update_<layer>`.
    AttnUpdate,
    /// What the MLP adds to the stream: `mlp_update_<layer>`.
    MlpUpdate,
    /// The results of the attention heads, one at a time, at all positions at once: `heads_<layer>`.
    Heads,
}

impl PatchKind {
    /// All kinds, in the order of the figure.
    pub const ALL: [Self; 5] = [Self::Resid, Self::AttnStream, Self::AttnUpdate, Self::MlpUpdate, Self::Heads];

    /// The kind of a site; `None` for a linear layer.
    pub(crate) fn of(site: &ActivationSite) -> Option<Self> {
        match site {
            ActivationSite::Heads(_) => Some(Self::Heads),
            ActivationSite::Layer(_) => None,
            ActivationSite::Residual(Site::Embeddings) => Some(Self::Resid),
            ActivationSite::Residual(Site::Block { sublayer, vector, .. }) => Some(match (sublayer, vector) {
                (Sublayer::Mlp, Vector::Stream) => Self::Resid,
                (Sublayer::Attn, Vector::Stream) => Self::AttnStream,
                (Sublayer::Attn, Vector::Update) => Self::AttnUpdate,
                (Sublayer::Mlp, Vector::Update) => Self::MlpUpdate,
            }),
        }
    }

    /// Whether its sites hold all that was computed before them, and not what one component adds.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Resid | Self::AttnStream)
    }
}

impl fmt::Display for PatchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resid => "residual stream after the block",
            Self::AttnStream => "residual stream after attention",
            Self::AttnUpdate => "update of attention",
            Self::MlpUpdate => "update of the MLP",
            Self::Heads => "attention heads, at all positions",
        })
    }
}
