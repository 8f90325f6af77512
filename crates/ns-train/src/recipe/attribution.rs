//! `[attribution]`: how units are scored without training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// `[attribution]`: how the units of the target layers are scored, and which of them are the circuit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AttributionSection {
    /// What the score of a unit is.
    pub method: AttributionMethod,
    /// The function of the model's answer that is differentiated.
    pub objective: Objective,
    /// Number of points between no unit and all units (`mask_gradient`), or between partner and example
    /// (`integrated_gradients`), over which gradients are averaged. 1: the gradient of the whole model.
    pub steps: usize,
    /// By which number units are ranked.
    pub rank: RankBy,
    /// Share of the units that the circuit keeps: the first of the ranking.
    pub share: f64,
}

/// What the score of a unit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttributionMethod {
    /// The gradient with respect to a mask on the output of the unit. With several steps it is averaged over masks
    /// between 0 and 1, the same for all units.
    #[default]
    MaskGradient,
    /// The gradient with respect to the output of the unit, times the difference of its value from that on the partner
    /// (attribution patching, Nanda 2023).
    AttributionPatching,
    /// Like `attribution_patching`, with the gradient averaged over embeddings between partner and example (Hanna et al.
    /// 2024, EAP-IG-inputs).
    IntegratedGradients,
}

/// A function of the model's answer. All of them grow with a better answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Objective {
    /// The logarithm of the probability of the right answer among those that are compared: minus the cross-entropy loss.
    #[default]
    Loss,
    /// The logit of the right answer minus that of the best other one.
    LogitDifference,
}

/// By which number units are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RankBy {
    /// By the size of the effect, in either direction.
    #[default]
    Absolute,
    /// By how much the unit helps: units that harm come last.
    Signed,
}

impl AttributionMethod {
    /// Whether it compares an example with its partner.
    pub fn needs_partners(self) -> bool {
        self != Self::MaskGradient
    }
}

impl Default for AttributionSection {
    fn default() -> Self {
        Self {
            method: AttributionMethod::default(),
            objective: Objective::default(),
            steps: 1,
            rank: RankBy::default(),
            share: 0.1,
        }
    }
}

impl AttributionSection {
    /// Checks the values.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`], named by its key.
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        TrainError::check(self.steps > 0, "attribution.steps", "0", "it must be at least 1")?;
        let expected = "one gradient is taken; use `integrated_gradients` for a mean over several";
        let single = self.method != AttributionMethod::AttributionPatching || self.steps == 1;
        TrainError::check(single, "attribution.steps", self.steps, expected)?;
        let expected = "it must be above 0 and at most 1";
        TrainError::check(self.share > 0.0 && self.share <= 1.0, "attribution.share", self.share, expected)
    }
}
