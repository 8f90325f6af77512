//! What training and evaluation need from a data set, and texts together with the tokenizer of a model.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_models::{TextBatch, TextTokenizer};
use ns_probe::ProbeBatch;

use super::{LabelledRows, RowSplit};
use crate::error::TrainError;

/// Labelled examples in host memory: one label each, or one for each vector that a probe reads from the example. Rows
/// are indices of examples.
pub trait Dataset: Send + Sync {
    /// The labels and the split of the examples.
    fn rows(&self) -> &LabelledRows;

    /// Builds a batch on `device`. Its token mask selects the tokens that a probe reads. For images the mask may be
    /// empty, because only the model knows the number of positions.
    ///
    /// # Errors
    /// Returns [`TrainError::Model`] if the tokenizer cannot encode a text, and [`TrainError::Setting`] if a sequence
    /// does not contain the token to read.
    ///
    /// # Panics
    /// Panics if a row is out of range.
    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError>;

    /// Rows of the examples of each set.
    fn split(&self) -> &RowSplit {
        &self.rows().split
    }

    /// Names of the classes, in the order of their indices. Empty if the labels are tokens.
    fn classes(&self) -> &[String] {
        &self.rows().classes
    }

    /// A hash of what each label of some examples belongs to, in the order of [`Self::labels`], if neither the sets nor
    /// the hashes depend on the order of the examples. `None` by default.
    fn content_keys(&self, _rows: &[usize]) -> Option<Vec<u64>> {
        None
    }

    /// Labels of some examples, in the order of the vectors that a probe reads from them.
    fn labels(&self, rows: &[usize]) -> Vec<i64> {
        rows.iter().flat_map(|row| self.rows().of(*row)).map(|label| *label as i64).collect()
    }
}

/// Labels as a tensor, `[n]`.
pub(crate) fn label_tensor(labels: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let n = labels.len();
    Tensor::from_data(TensorData::new(labels, [n]), device)
}

/// Texts, and the tokenizer of the model that reads them.
pub struct Tokenized<T> {
    pub(super) data: T,
    tokenizer: TextTokenizer,
}

impl<T> Tokenized<T> {
    /// Reads the tokenizer of the model in `folder`.
    ///
    /// # Errors
    /// Returns [`TrainError::Model`] if the tokenizer cannot be read.
    pub(crate) fn new(data: T, folder: &Path) -> Result<Self, TrainError> {
        Ok(Self { data, tokenizer: TextTokenizer::from_folder(folder)? })
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
        Ok(ProbeBatch { inputs: batch.inputs, token_mask, labels, means: Vec::new() })
    }
}
