//! Some positions of a batch of sequences.

use std::fmt;
use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Positions of a batch of sequences, as many of each.
#[derive(Clone, Debug)]
pub enum Positions {
    /// The same range of every sequence.
    Span(Range<usize>),
    /// Others of each sequence.
    Chosen(ChosenPositions),
}

/// Positions that differ from sequence to sequence.
#[derive(Clone, Debug)]
pub struct ChosenPositions {
    /// Positions, sequence by sequence.
    positions: Vec<usize>,
    batch: usize,
    device: Device,
}

impl Positions {
    /// These positions, the same number of each sequence.
    ///
    /// # Panics
    /// When they cannot be shared out evenly among `batch` sequences.
    pub fn chosen(positions: Vec<usize>, batch: usize, device: &Device) -> Self {
        assert!(batch > 0 && positions.len().is_multiple_of(batch), "as many positions of each sequence");
        Self::Chosen(ChosenPositions { positions, batch, device: device.clone() })
    }

    /// Number of positions of each sequence.
    pub fn count(&self) -> usize {
        match self {
            Self::Span(span) => span.len(),
            Self::Chosen(chosen) => chosen.count(),
        }
    }

    /// Whether all lie within sequences of `seq` tokens, and there are as many sequences.
    pub(crate) fn fit(&self, [batch, seq]: [usize; 2]) -> bool {
        match self {
            Self::Span(span) => !span.is_empty() && span.end <= seq,
            Self::Chosen(chosen) => {
                chosen.batch == batch && chosen.count() > 0 && chosen.positions.iter().all(|position| *position < seq)
            }
        }
    }

    /// Whether these are all positions of sequences of `seq` tokens, in their order.
    pub(crate) fn are_all(&self, seq: usize) -> bool {
        matches!(self, Self::Span(span) if *span == (0..seq))
    }

    /// The vectors at these positions.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    pub fn select(&self, hidden: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Span(span) => hidden.slice_dim(1, span.clone()),
            Self::Chosen(chosen) => {
                let [batch, seq, width] = hidden.dims();
                hidden.reshape([batch * seq, width]).select(0, chosen.rows(seq)).reshape([batch, chosen.count(), width])
            }
        }
    }

    /// The rows of these queries.
    ///
    /// # Shapes
    /// - scores: `[1 or batch, 1 or heads, queries, keys]`
    /// - output: `[1 or batch, 1 or heads, positions, keys]`
    pub(crate) fn select_queries(&self, scores: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Span(span) => scores.slice_dim(2, span.clone()),
            Self::Chosen(chosen) => {
                let [batch, heads, queries, keys] = scores.dims();
                let rows = if batch == 1 { chosen.rows(0) } else { chosen.rows(queries) };
                let by_query = scores.swap_dims(1, 2).reshape([batch * queries, heads * keys]);
                let chosen_rows = by_query.select(0, rows).reshape([chosen.batch, chosen.count(), heads, keys]);
                chosen_rows.swap_dims(1, 2)
            }
        }
    }
}

impl ChosenPositions {
    fn count(&self) -> usize {
        self.positions.len() / self.batch
    }

    /// Rows in `[batch · seq]`; in sequences of length 0 the positions themselves.
    fn rows(&self, seq: usize) -> Tensor<1, Int> {
        let count = self.count();
        let row = |(place, position): (usize, &usize)| (place / count * seq + position) as i64;
        let rows: Vec<i64> = self.positions.iter().enumerate().map(row).collect();
        Tensor::from_data(TensorData::new(rows, [self.positions.len()]), &self.device)
    }
}

impl fmt::Display for Positions {
    /// The range, or the position of each sequence in a list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => write!(f, "{span:?}"),
            Self::Chosen(chosen) => write!(f, "{:?}", chosen.positions),
        }
    }
}

impl From<Range<usize>> for Positions {
    fn from(span: Range<usize>) -> Self {
        Self::Span(span)
    }
}

/// The vectors at some positions, or all.
///
/// # Shapes
/// - hidden: `[batch, seq, hidden]`
/// - output: `[batch, positions, hidden]`
pub(crate) fn at_positions(hidden: Tensor<3>, positions: Option<&Positions>) -> Tensor<3> {
    match positions {
        None => hidden,
        Some(positions) => positions.select(hidden),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted<const D: usize>(dims: [usize; D]) -> Tensor<D> {
        Tensor::<1, Int>::arange(0..dims.iter().product::<usize>() as i64, &Device::default()).float().reshape(dims)
    }

    #[test]
    fn vectors_of_each_sequence_are_its_own() {
        let chosen = Positions::chosen(vec![2, 0, 1, 1], 2, &Device::default());
        let vectors: Vec<f32> = chosen.select(counted([2, 3, 1])).into_data().iter().collect();
        assert_eq!((chosen.count(), vectors), (2, vec![2.0, 0.0, 4.0, 4.0]));
    }

    #[test]
    fn queries_are_chosen_in_scores_that_sequences_share_and_in_those_of_each() {
        let chosen = Positions::chosen(vec![2, 0], 2, &Device::default());
        let shared: Vec<f32> = chosen.select_queries(counted([1, 2, 3, 1])).into_data().iter().collect();
        assert_eq!(shared, [2.0, 5.0, 0.0, 3.0]);
        let own: Vec<f32> = chosen.select_queries(counted([2, 2, 3, 1])).into_data().iter().collect();
        assert_eq!(own, [2.0, 5.0, 6.0, 9.0]);
    }

    #[test]
    fn positions_must_lie_in_the_sequences() {
        let chosen = |positions: &[usize]| Positions::chosen(positions.into(), 2, &Device::default());
        assert!(chosen(&[2, 0]).fit([2, 3]) && Positions::Span(1..3).fit([2, 3]));
        assert!(!chosen(&[3, 0]).fit([2, 3]) && !chosen(&[0, 0]).fit([3, 3]) && !Positions::Span(1..4).fit([2, 3]));
        assert!(Positions::Span(0..3).are_all(3) && !Positions::Span(0..2).are_all(3) && !chosen(&[0, 0]).are_all(1));
    }
}
