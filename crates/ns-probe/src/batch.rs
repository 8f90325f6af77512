//! What a probe sees: inputs, the tokens whose vectors it reads, and their labels.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_models::{ModelInputs, Positions, Transformer};

use crate::error::ProbeError;

/// Label that fills up rows for a circuit probe.
pub const CIRCUIT_LABEL_PADDING: i64 = -1000;
/// Label that fills up rows for a subnetwork probe.
pub const SUBNETWORK_LABEL_PADDING: i64 = -100;

/// A batch for a probe.
#[derive(Clone, Debug)]
pub struct ProbeBatch {
    /// The model's inputs, `[batch, seq]`.
    pub inputs: ModelInputs,
    /// Which tokens are read, `[batch · seq]` row by row.
    pub token_mask: Vec<bool>,
    /// Labels of the tokens that are read, in the same order, with padding anywhere between.
    pub labels: Vec<i64>,
}

impl ProbeBatch {
    /// The labels without padding, one for each token that is read.
    ///
    /// # Errors
    /// [`ProbeError::Batch`] for a token mask of another size, [`ProbeError::LabelCount`].
    pub fn selected_labels(&self, padding: i64) -> Result<Vec<i64>, ProbeError> {
        if let Some(ids) = &self.inputs.input_ids {
            self.check_mask(ids.dims())?;
        }
        let labels: Vec<i64> = self.labels.iter().copied().filter(|label| *label != padding).collect();
        let tokens = self.token_mask.iter().filter(|selected| **selected).count();
        if tokens != labels.len() {
            return Err(ProbeError::LabelCount { tokens, labels: labels.len() });
        }
        Ok(labels)
    }

    /// Checks that each sequence has exactly one token that is read.
    ///
    /// # Errors
    /// [`ProbeError::Batch`].
    pub fn check_one_token_a_sequence(&self) -> Result<(), ProbeError> {
        let counts = self.token_mask.chunks(self.seq()).map(|row| row.iter().filter(|selected| **selected).count());
        match counts.enumerate().find(|(_, count)| *count != 1) {
            None => Ok(()),
            Some((row, count)) => Err(ProbeError::Batch {
                what: "token_mask",
                found: format!("{count} tokens in sequence {row}"),
                expected: "labeling = sequence needs exactly one a sequence".into(),
            }),
        }
    }

    /// The model's inputs, checked against the token mask. A model in evaluation mode takes a training batch, too.
    pub(crate) fn inputs_for<M: Transformer>(&self, model: &M) -> Result<ModelInputs, ProbeError> {
        self.check_mask(model.stream_dims(&self.inputs)?)?;
        Ok(match model.device().is_autodiff() {
            true => self.inputs.clone(),
            false => self.inputs.clone().without_autodiff(),
        })
    }

    /// Positions to compute: those that are read, as many of each sequence. Where sequences have fewer than others, any
    /// fill them up; where little is left out, it is the range that holds all.
    pub(crate) fn positions(&self, device: &Device) -> Positions {
        let (span, rows) = (self.span(), self.read_positions());
        let count = rows.iter().map(Vec::len).max().unwrap_or_default();
        if count == span.len() || count == 0 {
            return Positions::Span(span);
        }
        let filled = |row: &Vec<usize>| -> Vec<usize> {
            let first = row.first().copied().unwrap_or(span.start);
            row.iter().copied().chain(std::iter::repeat_n(first, count - row.len())).collect()
        };
        Positions::chosen(rows.iter().flat_map(filled).collect(), rows.len(), device)
    }

    /// Vectors of the tokens that are read, out of those at [`positions`](Self::positions).
    ///
    /// # Shapes
    /// - vectors: `[batch, positions, hidden]`
    /// - output: `[selected, hidden]`
    pub(crate) fn selected(&self, vectors: Tensor<3>) -> Tensor<2> {
        let [batch, positions, hidden] = vectors.dims();
        let rows = self.rows_among(positions);
        let vectors = vectors.reshape([batch * positions, hidden]);
        if rows.len() == batch * positions {
            return vectors;
        }
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows.clone(), [rows.len()]), &vectors.device());
        vectors.select(0, rows)
    }

    /// Some sequences of the batch, without their labels.
    pub(crate) fn select(&self, sequences: &[usize]) -> Self {
        let seq = self.seq();
        let masks = sequences.iter().flat_map(|row| &self.token_mask[row * seq..(row + 1) * seq]);
        Self { inputs: self.inputs.select(sequences), token_mask: masks.copied().collect(), labels: Vec::new() }
    }

    /// Number of tokens that are read of each sequence.
    pub(crate) fn selected_per_sequence(&self) -> Vec<usize> {
        self.read_positions().iter().map(Vec::len).collect()
    }

    /// Positions that are read of each sequence.
    fn read_positions(&self) -> Vec<Vec<usize>> {
        let places = |row: &[bool]| row.iter().enumerate().filter(|(_, read)| **read).map(|(place, _)| place).collect();
        self.token_mask.chunks(self.seq()).map(places).collect()
    }

    fn check_mask(&self, [batch, seq]: [usize; 2]) -> Result<(), ProbeError> {
        if batch > 0 && self.token_mask.len() == batch * seq {
            return Ok(());
        }
        Err(ProbeError::Batch {
            what: "token_mask",
            found: format!("{} entries", self.token_mask.len()),
            expected: format!("the residual stream is [{batch}, {seq}]"),
        })
    }

    /// Length of the sequences, by the size of the mask.
    pub(crate) fn seq(&self) -> usize {
        (self.token_mask.len() / self.inputs.batch_size().max(1)).max(1)
    }

    /// Smallest range of positions that holds all tokens that are read.
    fn span(&self) -> Range<usize> {
        let seq = self.seq();
        let positions = || self.token_mask.iter().enumerate().filter(|(_, s)| **s).map(|(place, _)| place % seq);
        match (positions().min(), positions().max()) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..seq,
        }
    }

    /// Rows of the selected tokens in `[batch · count]`, where `count` is that of [`positions`](Self::positions).
    fn rows_among(&self, count: usize) -> Vec<i64> {
        let (span, rows) = (self.span(), self.read_positions());
        let is_span = count == span.len();
        let row = |(place, read): (usize, &Vec<usize>)| -> Vec<i64> {
            let within = |(order, position): (usize, &usize)| if is_span { position - span.start } else { order };
            read.iter().enumerate().map(|each| (place * count + within(each)) as i64).collect()
        };
        rows.iter().enumerate().flat_map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(token_mask: &[u8], labels: &[i64]) -> ProbeBatch {
        ProbeBatch {
            inputs: ModelInputs::from_ids(&[[1, 2, 3, 4], [5, 6, 7, 8]], &Device::default()),
            token_mask: token_mask.iter().map(|selected| *selected == 1).collect(),
            labels: labels.into(),
        }
    }

    #[test]
    fn padding_is_dropped_and_counts_must_agree() {
        let labels = [3, -1000, 4, -1000];
        let padded = batch(&[0, 1, 0, 0, 0, 0, 1, 0], &labels);
        assert_eq!(padded.selected_labels(CIRCUIT_LABEL_PADDING).unwrap(), [3, 4]);
        let error = padded.selected_labels(SUBNETWORK_LABEL_PADDING).unwrap_err();
        assert_eq!(error.to_string(), "the token mask selects 2 vectors, but there are 4 labels (padding left out)");
    }

    #[test]
    fn a_token_mask_of_another_size_is_an_error() {
        assert!(batch(&[1], &[1]).selected_labels(-1000).unwrap_err().to_string().contains("[2, 4]"));
    }

    #[test]
    fn sequence_labels_need_one_token_each() {
        assert!(batch(&[0, 1, 0, 0, 0, 0, 1, 0], &[1, 2]).check_one_token_a_sequence().is_ok());
        let error = batch(&[0, 1, 0, 0, 0, 1, 1, 0], &[1, 2]).check_one_token_a_sequence().unwrap_err();
        assert!(error.to_string().contains("2 tokens in sequence 1"));
    }

    #[test]
    fn rows_count_within_the_span() {
        let some = batch(&[0, 1, 1, 0, 0, 0, 1, 0], &[1, 2, 3]);
        assert_eq!(some.span(), 1..3);
        assert_eq!(some.rows_among(2), [0, 1, 3]);
    }

    #[test]
    fn positions_are_those_that_are_read() {
        let positions = |token_mask: &[u8]| batch(token_mask, &[]).positions(&Device::default()).to_string();
        assert_eq!(positions(&[0, 1, 0, 0, 0, 0, 0, 1]), "[1, 3]");
        assert_eq!(positions(&[0, 1, 0, 0, 0, 1, 0, 0]), "1..2");
        assert_eq!(positions(&[0, 1, 0, 1, 1, 0, 0, 0]), "[1, 3, 0, 0]", "filled up");
        assert_eq!(positions(&[1, 1, 1, 1, 0, 0, 0, 1]), "0..4");
        assert_eq!(batch(&[0, 1, 0, 1, 1, 0, 0, 0], &[]).rows_among(2), [0, 1, 2], "and what fills is dropped");
    }
}
