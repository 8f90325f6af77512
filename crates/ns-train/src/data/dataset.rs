//! What training and evaluation need from a data set, and texts together with the tokenizer of a model.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_models::{TextBatch, TextTokenizer};
use ns_probe::ProbeBatch;

use super::RowSplit;
use crate::error::TrainError;

/// Examples with one label each, in host memory. Rows are indices of examples.
pub trait Dataset: Send + Sync {
    /// Rows of the training and test examples.
    fn split(&self) -> &RowSplit;

    /// Names of the classes, in the order of their indices. Empty if the labels are tokens.
    fn classes(&self) -> &[String];

    /// Label of an example: index of its class, or token of its answer.
    fn label(&self, row: usize) -> i64;

    /// Builds a batch on `device`. Its token mask selects the token that a probe reads, one per sequence. For images
    /// the mask is empty, because only the model knows the number of positions.
    ///
    /// # Errors
    /// Returns [`TrainError::Model`] if the tokenizer cannot encode a text, and [`TrainError::Setting`] if a sequence
    /// does not contain the token to read.
    ///
    /// # Panics
    /// Panics if a row is out of range.
    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError>;

    /// Number of possible labels.
    fn n_answers(&self) -> usize {
        self.classes().len()
    }

    /// Labels of some examples.
    fn labels(&self, rows: &[usize]) -> Vec<i64> {
        rows.iter().map(|row| self.label(*row)).collect()
    }

    /// Accuracy on the test examples of always predicting the most frequent label of the training examples.
    fn majority(&self) -> f64 {
        let (train, test) = (self.labels(&self.split().train), self.labels(&self.split().test));
        let mut counts = BTreeMap::new();
        train.into_iter().for_each(|label| *counts.entry(label).or_insert(0_usize) += 1);
        let most_frequent = counts.into_iter().max_by_key(|(_, count)| *count).map(|(label, _)| label);
        let correct = test.iter().filter(|label| Some(**label) == most_frequent).count();
        correct as f64 / test.len().max(1) as f64
    }
}

/// Labels as a tensor, `[n]`.
pub(crate) fn label_tensor(labels: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let n = labels.len();
    Tensor::from_data(TensorData::new(labels, [n]), device)
}

/// Rows with texts, and the tokenizer of the model that reads them.
pub struct Tokenized<T> {
    pub(super) rows: T,
    tokenizer: TextTokenizer,
}

impl<T> Tokenized<T> {
    /// Reads the tokenizer of the model in `folder`.
    ///
    /// # Errors
    /// Returns [`TrainError::Model`] if the tokenizer cannot be read.
    pub(crate) fn new(rows: T, folder: &Path) -> Result<Self, TrainError> {
        Ok(Self { rows, tokenizer: TextTokenizer::from_folder(folder)? })
    }

    /// Builds a batch of texts. `read` returns the position of the token that is read in a sequence of the batch.
    pub(super) fn encode(
        &self,
        texts: &[&str],
        labels: Vec<i64>,
        device: &Device,
        read: impl Fn(&TextBatch, usize) -> Result<usize, TrainError>,
    ) -> Result<ProbeBatch, TrainError> {
        let batch = self.tokenizer.encode(texts, device)?;
        let mut token_mask = Vec::new();
        for (sequence, row) in batch.rows().iter().enumerate() {
            let read = read(&batch, sequence)?;
            token_mask.extend((0..row.tokens().len()).map(|token| token == read));
        }
        Ok(ProbeBatch { inputs: batch.inputs, token_mask, labels })
    }
}
