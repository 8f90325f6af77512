//! The examples of a task and their batches: model inputs with one label per example.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_models::{AnyModel, Labels, Logits, Model, ModelInputs, Products, TaskOutput, TextTokenizer, cross_entropy};
use serde::{Deserialize, Serialize};

use super::{ImageRecipe, LabelledImages, RowSplit, TextClassification, TextRecipe};
use crate::data::last_logits_with;
use crate::data::{Arithmetic, Examples};
use crate::error::TrainError;

/// Recipe of a data set for a task. The key in the recipe selects the kind of data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataRecipe {
    /// Classified texts: `[data.texts]`.
    Texts(TextRecipe),
    /// Classified images: `[data.images]`.
    Images(ImageRecipe),
    /// Modular arithmetic, whose answer is the next token of a language model: `[data.arithmetic]`.
    Arithmetic(Arithmetic),
}

/// The examples of a task, in host memory.
pub enum TaskData {
    /// Classified texts and the tokenizer of the model.
    Texts(TextClassification, Box<TextTokenizer>),
    /// Classified images.
    Images(LabelledImages),
    /// All pairs of modular arithmetic, training pairs first, with their split.
    Arithmetic(Arithmetic, Examples, RowSplit),
}

/// A batch: model inputs and one label per example.
pub struct TaskBatch {
    inputs: ModelInputs,
    labels: Vec<i64>,
}

impl DataRecipe {
    /// Resolves the path of the data file relative to the recipe file `recipe`.
    pub fn resolve(self, recipe: &Path) -> Self {
        match self {
            Self::Texts(texts) => Self::Texts(texts.resolve(recipe)),
            Self::Images(images) => Self::Images(images.resolve(recipe)),
            Self::Arithmetic(task) => Self::Arithmetic(task),
        }
    }

    /// Reads the data. Texts need the tokenizer of the model in `tokenizer_folder`.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for texts without `tokenizer_folder`, [`TrainError::Model`] if the tokenizer
    /// cannot be read, and the errors of [`TextRecipe::read`], [`ImageRecipe::read`] and [`Arithmetic::validate`].
    pub fn read(&self, tokenizer_folder: Option<&Path>) -> Result<TaskData, TrainError> {
        match self {
            Self::Texts(recipe) => {
                let folder = tokenizer_folder.ok_or_else(|| TrainError::Setting {
                    setting: "model",
                    found: "a configuration".into(),
                    expected: "texts need the tokenizer of a model folder".into(),
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
    /// Indices of the training and test examples.
    pub fn split(&self) -> &RowSplit {
        match self {
            Self::Texts(data, _) => &data.split,
            Self::Images(data) => &data.split,
            Self::Arithmetic(_, _, split) => split,
        }
    }

    /// Names of the classes. Empty for arithmetic, whose answers are tokens.
    pub fn classes(&self) -> &[String] {
        match self {
            Self::Texts(data, _) => &data.classes,
            Self::Images(data) => &data.classes,
            Self::Arithmetic(..) => &[],
        }
    }

    /// Number of possible answers: classes, or numbers below the modulus.
    pub fn n_answers(&self) -> usize {
        match self {
            Self::Arithmetic(task, ..) => task.modulus,
            data => data.classes().len(),
        }
    }

    /// Accuracy on the test examples of always predicting the most frequent answer of the training examples.
    pub fn majority(&self) -> f64 {
        let split = self.split();
        let mut counts = std::collections::BTreeMap::new();
        split.train.iter().for_each(|row| *counts.entry(self.label(*row)).or_insert(0_usize) += 1);
        let most_frequent = counts.into_iter().max_by_key(|(_, count)| *count).map(|(label, _)| label);
        let correct = split.test.iter().filter(|row| Some(self.label(**row)) == most_frequent).count();
        correct as f64 / split.test.len().max(1) as f64
    }

    /// The label of an example: class index, or token of the answer.
    fn label(&self, row: usize) -> i64 {
        match self {
            Self::Texts(data, _) => data.labels[row] as i64,
            Self::Images(data) => data.labels[row] as i64,
            Self::Arithmetic(task, examples, _) => {
                task.answers(&examples.select(&[row])).first().map_or(0, |answer| *answer as i64)
            }
        }
    }

    /// Builds a batch of the examples with these indices.
    ///
    /// # Errors
    /// Returns [`TrainError::Model`] if the tokenizer cannot encode a text.
    ///
    /// # Panics
    /// Panics if an index is out of range.
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

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The correct answers: class indices, or tokens.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Computes the logits of the answers: those of a classification head, or those of a language model after the last
    /// token.
    ///
    /// # Shapes
    /// - output: `[batch, classes]` or `[batch, vocab]`
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a model with another head, and [`TrainError::Model`] for inputs that do not
    /// fit the model.
    pub fn scores(&self, model: &AnyModel) -> Result<Tensor<2>, TrainError> {
        self.scores_with(model, None)
    }

    fn scores_with(&self, model: &AnyModel, products: Products) -> Result<Tensor<2>, TrainError> {
        if let (true, AnyModel::Transformer(model)) = (model.head() == ns_models::Head::Lm, model) {
            return last_logits_with(model, &self.inputs, products);
        }
        match model.logits_with(&self.inputs, products)? {
            Some(Logits::Sequences(scores)) => Ok(scores),
            _ => Err(unsuitable_head(model)),
        }
    }

    /// Computes the mean loss of the batch, with the logits of the answers. The loss is that of a classification head,
    /// or for a language model the cross-entropy after the last token. The linear layers in the blocks first ask
    /// `products` for their matrix products.
    ///
    /// # Errors
    /// Returns the errors of [`Self::scores`].
    pub fn task_output(&self, model: &AnyModel, products: Products) -> Result<TaskOutput, TrainError> {
        let labels: Tensor<1, Int> =
            Tensor::from_data(TensorData::new(self.labels.clone(), [self.labels.len()]), &model.device());
        if model.head() == ns_models::Head::Lm {
            let scores = self.scores_with(model, products)?;
            return Ok(TaskOutput { loss: cross_entropy(scores.clone(), labels), logits: Logits::Sequences(scores) });
        }
        let logits = model.logits_with(&self.inputs, products)?;
        Ok(model.task_loss(&self.inputs, logits, &Labels::Classes(labels))?)
    }
}

/// The error for a model whose head does not predict one answer per example.
fn unsuitable_head(model: &AnyModel) -> TrainError {
    TrainError::Setting {
        setting: "model.architectures",
        found: format!("a {} with the head `{}`", model.model_type(), model.head().name()),
        expected: "the data needs a classification head or a language-model head".into(),
    }
}
