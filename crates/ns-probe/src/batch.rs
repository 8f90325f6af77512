//! What a probe sees: inputs, the tokens whose vectors it reads, and their labels.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use ns_models::{ModelInputs, Site, Transformer};

use crate::ProbeError;

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

    /// Vectors of the tokens that are read, `[selected, hidden]`; positions outside the span of these tokens are not
    /// computed in the probed block. A model in evaluation mode takes a training batch, too.
    pub(crate) fn vectors<M: Transformer>(&self, model: &M, site: Site) -> Result<Tensor<2>, ProbeError> {
        self.check_mask(model.stream_dims(&self.inputs)?)?;
        let span = self.span();
        let inputs = match model.device().is_autodiff() {
            true => self.inputs.clone(),
            false => self.inputs.clone().without_autodiff(),
        };
        let vectors = model.vectors_at(site, span.clone(), &inputs)?;
        let [batch, positions, hidden] = vectors.dims();
        let rows = self.rows_within(&span);
        let vectors = vectors.reshape([batch * positions, hidden]);
        if rows.len() == batch * positions {
            return Ok(vectors);
        }
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows.clone(), [rows.len()]), &vectors.device());
        Ok(vectors.select(0, rows))
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
    fn seq(&self) -> usize {
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

    /// Rows of the selected tokens in `[batch · span]`.
    fn rows_within(&self, span: &Range<usize>) -> Vec<i64> {
        let seq = self.seq();
        let places = self.token_mask.iter().enumerate().filter(|(_, selected)| **selected).map(|(place, _)| place);
        places.map(|place| (place / seq * span.len() + place % seq - span.start) as i64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

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
        assert_eq!(some.rows_within(&some.span()), [0, 1, 3]);
    }
}
