//! `[behaviour]`: what the model itself does.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::{Column, Read};
use crate::error::TrainError;

/// `[behaviour]`: what the model itself does, intact and under each ablation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BehaviourSection {
    /// What the right answer is, and what it is compared with.
    pub answer: Answer,
    /// Column with the class of the answer. By default the label; for arithmetic always the answer of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Column>,
    /// The position whose logits are read: at a language model those of the next token. By default the position that is
    /// probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Read>,
    /// The first logit and the one after the last of those that are compared. By default all. Only with
    /// `answer = "label"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub among: Option<[usize; 2]>,
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// The sets on which it is measured.
    pub sets: Vec<SetName>,
}

/// What the right answer of the model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "it must be \"label\", { right = COLUMN, wrong = COLUMN } or { classes = { CLASS = TOKEN, … } }"
)]
#[non_exhaustive]
pub enum Answer {
    /// `"label"`: the class of the label in the model's own head.
    Own(OwnAnswer),
    /// Columns with the right and the wrong token of each row.
    Columns(AnswerColumns),
    /// A token for each class of the label.
    Classes(AnswerClasses),
}

/// The answer that the label names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnAnswer {
    /// A name in the model's `id2label`, or the index of a logit.
    #[default]
    Label,
}

/// Columns with answers. A cell holds a text that is one token, with the space before it if the tokenizer has one in its
/// tokens, or with `data.tokens` a token id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerColumns {
    /// Column with the right answer.
    pub right: Column,
    /// Column with the wrong answer.
    pub wrong: Column,
}

/// An answer for each class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerClasses {
    /// The token of each class, written as in [`AnswerColumns`].
    pub classes: BTreeMap<String, String>,
}

impl Default for Answer {
    fn default() -> Self {
        Self::Own(OwnAnswer::Label)
    }
}

impl BehaviourSection {
    /// Checks that the keys go together.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`], named by its key.
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        if let Some(Read::At(at)) = &self.at {
            at.validate("behaviour.at")?;
        }
        if let Some([first, past_last]) = self.among {
            let own = matches!(self.answer, Answer::Own(_));
            let expected = "the answers are compared with each other alone; remove the key";
            TrainError::check(own, "behaviour.among", "given", expected)?;
            let expected = "it holds the first logit and the one after the last, at least two logits";
            let found = format!("[{first}, {past_last}]");
            TrainError::check(first + 1 < past_last, "behaviour.among", found, expected)?;
        }
        match &self.answer {
            Answer::Columns(_) => {
                let expected = "the columns name the answers; remove the key";
                TrainError::check(self.label.is_none(), "behaviour.label", "given", expected)
            }
            Answer::Classes(AnswerClasses { classes }) => {
                let expected = "it needs the answers of at least two classes";
                let found = format!("of {} classes", classes.len());
                TrainError::check(classes.len() > 1, "behaviour.answer.classes", found, expected)
            }
            Answer::Own(_) => Ok(()),
        }
    }
}

/// A measurement of the model's behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Share of the examples whose right answer has the highest logit of those that are compared. A tie is wrong.
    Accuracy,
    /// Mean of the right answer's logit minus the best other one of those that are compared.
    LogitDifference,
    /// Mean divergence of all logits from those of the intact model, `KL(intact ‖ ablated)`, in nats.
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
        Self {
            answer: Answer::default(),
            label: None,
            at: None,
            among: None,
            metrics: vec![Metric::Accuracy],
            sets: vec![SetName::Test],
        }
    }
}
