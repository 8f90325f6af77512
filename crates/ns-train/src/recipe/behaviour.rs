//! `[behaviour]`: what the model itself does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::Column;

/// `[behaviour]`: what the model itself does, intact and under each ablation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BehaviourSection {
    /// What the right answer is.
    pub answer: Answer,
    /// Column with the class of the model's own head. By default the label; for arithmetic always the answer of the
    /// task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Column>,
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// The sets on which it is measured.
    pub sets: Vec<SetName>,
}

/// What the right answer of the model is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// The class of the label in the model's own head: a name in its `id2label`, or the index of a logit.
    #[default]
    Label,
}

/// A measurement of the model's behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Share of the examples whose right answer has the highest logit. A tie is wrong.
    Accuracy,
    /// Mean of the right answer's logit minus the best other one.
    LogitDifference,
    /// Mean divergence of the answers from those of the intact model, `KL(intact ‖ ablated)`, in nats.
    Kl,
}

impl Metric {
    /// The metric as a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::LogitDifference => "logit_difference",
            Self::Kl => "kl",
        }
    }
}

/// A set of examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetName {
    /// The training set.
    Train,
    /// The development set.
    Dev,
    /// The test set.
    Test,
    /// The set out of distribution.
    Ood,
}

impl SetName {
    /// The set as a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
            Self::Ood => "ood",
        }
    }
}

impl Default for BehaviourSection {
    fn default() -> Self {
        Self { answer: Answer::Label, label: None, metrics: vec![Metric::Accuracy], sets: vec![SetName::Test] }
    }
}
