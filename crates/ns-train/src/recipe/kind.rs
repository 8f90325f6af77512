//! The kinds of recipes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a recipe trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A model, on the labels.
    Model,
    /// A circuit of a frozen model, on the model's own task.
    Circuit,
    /// A circuit whose vectors at a site cluster by label (Lepori et al. 2024).
    CircuitProbe,
    /// A circuit and a classifier on its vectors at a site (Cao et al. 2021).
    SubnetworkProbe,
    /// A classifier, or a regression, on the vectors of the whole model at a site.
    LinearProbe,
    /// Scores of the units of a frozen model, from gradients; the best of them are a circuit.
    Attribution,
}

impl Kind {
    /// All kinds, in the order of the documentation.
    pub(super) const ALL: [Self; 6] =
        [Self::Model, Self::Circuit, Self::CircuitProbe, Self::SubnetworkProbe, Self::LinearProbe, Self::Attribution];

    /// The kind as a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Circuit => "circuit",
            Self::CircuitProbe => "circuit_probe",
            Self::SubnetworkProbe => "subnetwork_probe",
            Self::LinearProbe => "linear_probe",
            Self::Attribution => "attribution",
        }
    }

    /// The kind in a sentence, such as `a circuit`.
    pub(super) fn with_article(self) -> String {
        format!("{} {}", if self == Self::Attribution { "an" } else { "a" }, self.name())
    }

    /// Whether it reads vectors at a site.
    pub fn is_probe(self) -> bool {
        matches!(self, Self::CircuitProbe | Self::SubnetworkProbe | Self::LinearProbe)
    }

    /// Whether its result is a circuit.
    pub fn has_masks(self) -> bool {
        matches!(self, Self::Circuit | Self::CircuitProbe | Self::SubnetworkProbe | Self::Attribution)
    }
}
