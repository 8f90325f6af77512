//! What a circuit model runs: the whole model, the circuit, or an ablation.

use std::fmt;

use serde::de::{Error, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a [`CircuitModel`](crate::CircuitModel) runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ModelVariant {
    /// `w`: the model without masks. It equals the base bit for bit.
    WholeModel,
    /// `w ⊙ m`: the masked model. In evaluation mode, it is the circuit alone.
    #[default]
    CircuitOnly,
    /// The model with an ablation of the circuit, in evaluation mode.
    Ablated(Ablation),
}

/// An ablation of a circuit in evaluation mode.
///
/// In the formulas, `w` is a masked parameter, `m` its hard mask, and `k` the number of mask entries in the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ablation {
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
            Self::ZeroAblate => "zero_ablate",
            Self::RandomAblate => "random_ablate",
            Self::RandomlySampled => "randomly_sampled",
            Self::ComplementSampled => "complement_sampled",
        })
    }
}

/// NeuroSurgeon's name of no ablation.
const NONE: &str = "none";

/// Writes an optional ablation as NeuroSurgeon's name, for serde.
pub(crate) fn serialize<S: Serializer>(ablation: &Option<Ablation>, serializer: S) -> Result<S::Ok, S::Error> {
    match ablation {
        Some(ablation) => ablation.serialize(serializer),
        None => serializer.serialize_str(NONE),
    }
}

/// Reads an optional ablation from NeuroSurgeon's name, for serde.
///
/// # Errors
/// Returns an error with all names for an unknown name.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Ablation>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name == NONE {
        return Ok(None);
    }
    let ablation = Ablation::deserialize(name.as_str().into_deserializer());
    ablation.map(Some).map_err(|error: D::Error| D::Error::custom(format_args!("{error}, or `{NONE}`")))
}
