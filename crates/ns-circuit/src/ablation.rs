//! Ablations: what the model runs on in place of its circuit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is done to a circuit in evaluation mode, with `m` its hard mask and `k` its size in one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ablation {
    /// `w ⊙ m`: the circuit alone.
    #[default]
    None,
    /// `w ⊙ (1 − m)`: everything but the circuit.
    ZeroAblate,
    /// `w ⊙ (1 − m) + m ⊙ r`: the circuit replaced by a fresh initialisation `r` of its layer.
    RandomAblate,
    /// `k` entries drawn from the whole parameter are zero, the rest is kept.
    RandomlySampled,
    /// `k` entries drawn from outside the circuit are zero, the rest is kept.
    ComplementSampled,
}

impl Ablation {
    /// Whether anything has to be drawn for it.
    pub(crate) fn is_sampled(self) -> bool {
        matches!(self, Self::RandomAblate | Self::RandomlySampled | Self::ComplementSampled)
    }
}

impl fmt::Display for Ablation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::ZeroAblate => "zero_ablate",
            Self::RandomAblate => "random_ablate",
            Self::RandomlySampled => "randomly_sampled",
            Self::ComplementSampled => "complement_sampled",
        })
    }
}
