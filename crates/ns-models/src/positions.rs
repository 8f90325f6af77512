//! Selects positions in a batch of sequences.

use std::fmt;
use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Selected positions in a batch of sequences. The number of positions is the same for every sequence.
#[derive(Clone, Debug)]
pub enum Positions {
    /// The same range of positions in every sequence.
    Span(Range<usize>),
    /// Individual positions in each sequence.
    Chosen(ChosenPositions),
}

/// Individual positions in each sequence of a batch. [`Positions::chosen`] creates them.
#[derive(Clone, Debug)]
pub struct ChosenPositions {
    /// The positions of the first sequence, then those of the second, and so on.
    positions: Vec<usize>,
    batch: usize,
    device: Device,
}

impl Positions {
    /// Selects individual positions in each of `batch` sequences.
    ///
    /// `positions` contains the positions of the first sequence, then those of the second, and so on.
    ///
    /// # Panics
    /// Panics if `batch` is 0 or does not divide the number of positions.
    pub fn chosen(positions: Vec<usize>, batch: usize, device: &Device) -> Self {
        let count = positions.len();
        assert!(batch > 0 && count.is_multiple_of(batch), "{count} positions do not divide among {batch} sequences");
        Self::Chosen(ChosenPositions { positions, batch, device: device.clone() })
    }

    /// Returns the number of positions per sequence.
    pub fn count(&self) -> usize {
        match self {
            Self::Span(span) => span.len(),
            Self::Chosen(chosen) => chosen.count(),
        }
    }

    /// Whether these are valid positions for `batch` sequences of `seq` tokens, with at least one position per
    /// sequence.
    pub(crate) fn fit(&self, [batch, seq]: [usize; 2]) -> bool {
        match self {
            Self::Span(span) => !span.is_empty() && span.end <= seq,
            Self::Chosen(chosen) => {
                chosen.batch == batch && chosen.count() > 0 && chosen.positions.iter().all(|position| *position < seq)
            }
        }
    }

    /// Whether these are all positions of a sequence of `seq` tokens, in order.
    pub(crate) fn are_all(&self, seq: usize) -> bool {
        matches!(self, Self::Span(span) if *span == (0..seq))
    }

    /// Selects the vectors at these positions.
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

    /// Selects the queries at these positions.
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

    /// Indices of the positions in `[batch · seq]`. With a `seq` of 0, all sequences share one row of positions.
    fn rows(&self, seq: usize) -> Tensor<1, Int> {
        let count = self.count();
        let row = |(index, position): (usize, &usize)| (index / count * seq + position) as i64;
        let rows: Vec<i64> = self.positions.iter().enumerate().map(row).collect();
        Tensor::from_data(TensorData::new(rows, [self.positions.len()]), &self.device)
    }
}

impl fmt::Display for Positions {
    /// Formats the range, or the list of all positions.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn counted<const D: usize>(dims: [usize; D]) -> Tensor<D> {
        Tensor::<1, Int>::arange(0..dims.iter().product::<usize>() as i64, &Device::default()).float().reshape(dims)
    }

    #[test]
    fn chosen_positions_differ_per_sequence() {
        let chosen = Positions::chosen(vec![2, 0, 1, 1], 2, &Device::default());
        let vectors: Vec<f32> = chosen.select(counted([2, 3, 1])).into_data().iter().collect();
        assert_eq!((chosen.count(), vectors), (2, vec![2.0, 0.0, 4.0, 4.0]));
    }

    #[test]
    fn queries_are_selected_in_shared_and_in_batched_scores() {
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
