//! Token ids of all rows, and batches of them.

use std::borrow::Cow;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_models::{ModelInputs, RowFormat};

use super::ragged::Ragged;
use crate::error::TrainError;

/// Token ids of all rows, without padding.
#[derive(Default)]
pub(super) struct Sequences {
    pub(super) ids: Ragged<u32>,
    /// Token types, for models that read them.
    pub(super) types: Option<Ragged<u32>>,
    /// How rows are padded.
    pub(super) format: RowFormat,
    /// Whether a batch without padding has an attention mask, too. Batches of texts do.
    pub(super) always_masked: bool,
}

/// Rows as model inputs.
pub(super) struct PaddedBatch {
    pub(super) inputs: ModelInputs,
    /// Length of the rows.
    pub(super) seq: usize,
    /// Number of padding tokens before each row.
    pub(super) offsets: Vec<usize>,
}

impl Sequences {
    /// Pads rows to the longest of them.
    ///
    /// # Shapes
    /// - inputs: token ids, attention mask and token types, each `[rows, seq]`
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if the rows need padding and there is no padding token.
    pub(super) fn batch(&self, rows: &[usize], device: &Device) -> Result<PaddedBatch, TrainError> {
        let ids: Vec<Cow<'_, [u32]>> = rows.iter().map(|row| Cow::Borrowed(self.ids.row(*row))).collect();
        self.batch_of(rows, &ids, device)
    }

    /// Like [`Self::batch`], with other token ids, one list per row.
    ///
    /// # Errors
    /// Returns the errors of [`Self::batch`].
    pub(super) fn batch_of(
        &self,
        rows: &[usize],
        ids: &[Cow<'_, [u32]>],
        device: &Device,
    ) -> Result<PaddedBatch, TrainError> {
        let lengths: Vec<usize> = ids.iter().map(|ids| ids.len()).collect();
        let seq = lengths.iter().copied().max().unwrap_or_default();
        let is_padded = lengths.iter().any(|length| *length < seq);
        let pad_id = match (is_padded, self.format.pad_id) {
            (true, None) => {
                let expected = "texts of unequal length need one; set `pad_token` in tokenizer_config.json";
                return Err(TrainError::setting("the tokenizer", "without a padding token", expected));
            }
            (_, id) => id.unwrap_or_default(),
        };
        let left = self.format.pads_left;
        let tensor = |values: Vec<i64>| -> Tensor<2, Int> {
            Tensor::from_data(TensorData::new(values, [rows.len(), seq]), device)
        };
        let mut inputs = ModelInputs::new(tensor(padded(ids.iter().map(|ids| &**ids), seq, pad_id, left)));
        if is_padded || self.always_masked {
            let ones = vec![1; seq];
            let mask = padded(lengths.iter().map(|length| &ones[..*length]), seq, 0, left);
            inputs = inputs.with_attention_mask(tensor(mask));
        }
        if let Some(types) = &self.types {
            let types = rows.iter().map(|row| types.row(*row));
            inputs = inputs.with_token_type_ids(tensor(padded(types, seq, 0, left)));
        }
        let offsets = lengths.iter().map(|length| if left { seq - length } else { 0 }).collect();
        Ok(PaddedBatch { inputs, seq, offsets })
    }
}

/// Rows that are filled up with `value` to `seq` values each, row by row.
fn padded<'a>(rows: impl ExactSizeIterator<Item = &'a [u32]>, seq: usize, value: u32, left: bool) -> Vec<i64> {
    let mut values = Vec::with_capacity(rows.len() * seq);
    for row in rows {
        let padding = std::iter::repeat_n(i64::from(value), seq - row.len());
        if left {
            values.extend(padding.clone());
        }
        values.extend(row.iter().map(|id| i64::from(*id)));
        if !left {
            values.extend(padding);
        }
    }
    values
}
