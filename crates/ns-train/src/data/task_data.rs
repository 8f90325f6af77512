//! The examples of a task, batch by batch as a model takes them.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_models::{AnyModel, Labels, Logits, Model, ModelInputs, TaskOutput, TextTokenizer, cross_entropy};
use serde::{Deserialize, Serialize};

use super::{ImageRecipe, LabelledImages, RowSplit, TextClassification, TextRecipe};
use crate::data::last_logits;
use crate::data::{Arithmetic, Examples};
use crate::error::TrainError;

/// What a model is trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataRecipe {
    /// Texts with a class each: `[data.texts]`.
    Texts(TextRecipe),
    /// Images with a class each: `[data.images]`.
    Images(ImageRecipe),
    /// Modular arithmetic, the next token of a language model: `[data.arithmetic]`.
    Arithmetic(Arithmetic),
}

/// Examples in memory.
pub enum TaskData {
    /// Texts, and the tokenizer of the model.
    Texts(TextClassification, Box<TextTokenizer>),
    /// Images.
    Images(LabelledImages),
    /// All pairs, those to train on first.
    Arithmetic(Arithmetic, Examples, RowSplit),
}

/// Some examples.
pub struct TaskBatch {
    inputs: ModelInputs,
    labels: Vec<i64>,
}

impl DataRecipe {
    /// Makes paths relative to the recipe's folder.
    pub fn resolve(self, recipe: &Path) -> Self {
        match self {
            Self::Texts(texts) => Self::Texts(texts.resolve(recipe)),
            Self::Images(images) => Self::Images(images.resolve(recipe)),
            Self::Arithmetic(task) => Self::Arithmetic(task),
        }
    }

    /// Reads the data; texts are for the tokenizer of `tokenizer_folder`.
    ///
    /// # Errors
    /// Those of the readers; [`TrainError::Setting`] for texts without a tokenizer's folder.
    pub fn read(&self, tokenizer_folder: Option<&Path>) -> Result<TaskData, TrainError> {
        match self {
            Self::Texts(recipe) => {
                let folder = tokenizer_folder.ok_or_else(|| TrainError::Setting {
                    setting: "model",
                    found: "a configuration".into(),
                    expected: "texts need a folder with a tokenizer".into(),
                })?;
                Ok(TaskData::Texts(recipe.read()?, Box::new(TextTokenizer::from_folder(folder)?)))
            }
            Self::Images(recipe) => Ok(TaskData::Images(recipe.read()?)),
            Self::Arithmetic(task) => {
                task.validate()?;
                let (split, mut pairs) = (task.split(), Vec::new());
                let n_train = split.train.len();
                pairs.extend(split.train.pairs.into_iter().chain(split.test.pairs));
                let rows = RowSplit { train: (0..n_train).collect(), test: (n_train..pairs.len()).collect() };
                Ok(TaskData::Arithmetic(*task, Examples { pairs }, rows))
            }
        }
    }
}

impl TaskData {
    /// Rows to train on and to test on.
    pub fn split(&self) -> &RowSplit {
        match self {
            Self::Texts(data, _) => &data.split,
            Self::Images(data) => &data.split,
            Self::Arithmetic(_, _, split) => split,
        }
    }

    /// Names of the classes; none for arithmetic, whose answers are tokens.
    pub fn classes(&self) -> &[String] {
        match self {
            Self::Texts(data, _) => &data.classes,
            Self::Images(data) => &data.classes,
            Self::Arithmetic(..) => &[],
        }
    }

    /// Number of answers that a model must tell apart.
    pub fn n_answers(&self) -> usize {
        match self {
            Self::Arithmetic(task, ..) => task.modulus,
            data => data.classes().len(),
        }
    }

    /// Share of the most frequent answer among the training rows, over the test rows.
    pub fn majority(&self) -> f64 {
        let split = self.split();
        let mut counts = std::collections::BTreeMap::new();
        split.train.iter().for_each(|row| *counts.entry(self.label(*row)).or_insert(0_usize) += 1);
        let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(label, _)| label);
        let right = split.test.iter().filter(|row| Some(self.label(**row)) == most).count();
        right as f64 / split.test.len().max(1) as f64
    }

    fn label(&self, row: usize) -> i64 {
        match self {
            Self::Texts(data, _) => data.labels[row] as i64,
            Self::Images(data) => data.labels[row] as i64,
            Self::Arithmetic(task, examples, _) => {
                task.answers(&examples.select(&[row])).first().map_or(0, |answer| *answer as i64)
            }
        }
    }

    /// Some rows as a batch.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn batch(&self, rows: &[usize], device: &Device) -> Result<TaskBatch, TrainError> {
        let inputs = match self {
            Self::Texts(data, tokenizer) => {
                let texts: Vec<&str> = rows.iter().map(|row| data.texts[*row].as_str()).collect();
                tokenizer.encode(&texts, device)?.inputs
            }
            Self::Images(data) => {
                let [channels, height, width] = data.image_shape();
                let values = TensorData::new(data.pixel_values(rows), [rows.len(), channels, height, width]);
                ModelInputs::images(Tensor::from_data(values, device))
            }
            Self::Arithmetic(task, examples, _) => task.inputs(&examples.select(rows), device),
        };
        Ok(TaskBatch { inputs, labels: rows.iter().map(|row| self.label(*row)).collect() })
    }
}

impl TaskBatch {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The right answers.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Scores of the answers, `[batch, classes]`: a classification's, or a language model's after the last token.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for a model with another head, and the model's.
    pub fn scores(&self, model: &AnyModel) -> Result<Tensor<2>, TrainError> {
        if let (true, AnyModel::Transformer(model)) = (model.head() == ns_models::Head::Lm, model) {
            return last_logits(model, &self.inputs);
        }
        match model.logits(&self.inputs)? {
            Some(Logits::Sequences(scores)) => Ok(scores),
            _ => Err(no_answer(model)),
        }
    }

    /// The task's mean loss, with the scores: the head's own, or cross-entropy after the last token.
    ///
    /// # Errors
    /// As [`scores`](Self::scores).
    pub fn task_output(&self, model: &AnyModel) -> Result<TaskOutput, TrainError> {
        let labels: Tensor<1, Int> =
            Tensor::from_data(TensorData::new(self.labels.clone(), [self.labels.len()]), &model.device());
        if model.head() == ns_models::Head::Lm {
            let scores = self.scores(model)?;
            return Ok(TaskOutput { loss: cross_entropy(scores.clone(), labels), logits: Logits::Sequences(scores) });
        }
        Ok(model.task_output(&self.inputs, &Labels::Classes(labels))?)
    }
}

fn no_answer(model: &AnyModel) -> TrainError {
    TrainError::Setting {
        setting: "model.architectures",
        found: format!("a {} with the head: {}", model.model_type(), model.head().name()),
        expected: "the data ask for one answer an example: a classification or a language model".into(),
    }
}
