//! What training and evaluation need from a data set.

use burn::tensor::{Device, Int, Tensor, TensorData};
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

    /// Like [`Self::batch`], for training in an epoch, counted from 0: the tokens that a masked language model predicts
    /// differ between epochs. By default the batch does not depend on the epoch.
    ///
    /// # Errors
    /// Returns the errors of [`Self::batch`].
    ///
    /// # Panics
    /// Panics if a row is out of range.
    fn training_batch(&self, rows: &[usize], _epoch: usize, device: &Device) -> Result<ProbeBatch, TrainError> {
        self.batch(rows, device)
    }

    /// Number of tokens of an example, if batches should hold examples of similar length. A language model reads every
    /// token, so padding costs as much as text. `None` by default.
    fn batching_length(&self, _row: usize) -> Option<usize> {
        None
    }

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
