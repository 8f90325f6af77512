//! `[evaluation]`: controls and ablations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[evaluation]`: how a finished run is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationSection {
    /// Number of random masks of the circuit's size.
    pub controls: usize,
    /// Ablations of the circuit.
    pub ablations: Vec<AblationName>,
    /// Whether the probe is trained again on shuffled labels (the control task of Hewitt and Liang 2019). By default
    /// for subnetwork and linear probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shuffled_labels: Option<bool>,
    /// Whether the probe is trained again without masks. By default for subnetwork probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain: Option<bool>,
}

/// An ablation as a recipe writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AblationName {
    /// The circuit is set to zero.
    Zero,
    /// The circuit is replaced by a random initialisation.
    Reinitialise,
    /// The output of each unit of the circuit is replaced by its mean over all real tokens of the training set. Only with
    /// neuron masks on linear layers in the blocks of a transformer.
    Mean,
    /// Like `mean`, with the mean over the training examples at each position.
    MeanPosition,
    /// The output of each unit of the circuit is replaced by its value on the partner of the example, or without partners
    /// on another example of the set. Only where `mean` is possible.
    Resample,
}

impl AblationName {
    /// The ablation as a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Reinitialise => "reinitialise",
            Self::Mean => "mean",
            Self::MeanPosition => "mean_position",
            Self::Resample => "resample",
        }
    }

    /// Whether it replaces the outputs of units, and not their weights.
    pub fn replaces_outputs(self) -> bool {
        matches!(self, Self::Mean | Self::MeanPosition | Self::Resample)
    }
}

impl Default for EvaluationSection {
    fn default() -> Self {
        Self { controls: 5, ablations: vec![AblationName::Zero], shuffled_labels: None, plain: None }
    }
}
