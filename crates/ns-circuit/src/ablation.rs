//! The ablations that evaluation mode can apply to a circuit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An ablation of a circuit in evaluation mode.
///
/// In the formulas, `w` is a masked parameter, `m` its hard mask, and `k` the number of mask entries in the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ablation {
    /// `w ⊙ m`: no ablation, the circuit alone.
    #[default]
    None,
    /// `w ⊙ (1 − m)`: removes the circuit.
    ZeroAblate,
    /// `w ⊙ (1 − m) + r ⊙ m`: replaces the circuit with a random initialisation `r` of its layer.
    RandomAblate,
    /// Removes `k` entries sampled from the whole parameter and keeps the rest.
    RandomlySampled,
    /// Removes `k` entries sampled from outside the circuit and keeps the rest.
    ComplementSampled,
}

impl Ablation {
    /// Whether the ablation needs random numbers.
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
