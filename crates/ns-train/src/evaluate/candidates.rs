//! Which answers of a model are compared: all logits, a range of them, the answers of the classes, or a pair for each
//! example.

use std::ops::Range;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

use super::count_right;
use crate::data::{Dataset, Examples};

/// The answers with which the right one is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// All logits.
    All,
    /// The logits in a range.
    Among(Range<usize>),
    /// The answers of all classes.
    Classes(Vec<usize>),
    /// One wrong answer for each right one. Those of a data set are by row.
    Wrong(Vec<usize>),
}

/// Examples with the right answers as their labels, and what they are compared with.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    /// The examples. Their labels are indices of logits.
    pub(crate) examples: Examples,
    pub(crate) candidates: Candidates,
}

/// The right answers of a batch, and the candidates.
pub(crate) struct AnswerBatch {
    /// Index of the logit of each right answer.
    right: Vec<i64>,
    candidates: Candidates,
}

/// The logits of the candidates, `[n, candidates]`, and which of them is right, `[n]`.
pub(crate) struct Compared {
    pub(crate) scores: Tensor<2>,
    right: Vec<i64>,
}

impl Answers {
    /// The answers of some rows.
    pub(crate) fn batch(&self, rows: &[usize]) -> AnswerBatch {
        let candidates = match &self.candidates {
            Candidates::Wrong(wrong) => Candidates::Wrong(rows.iter().map(|row| wrong[*row]).collect()),
            others => others.clone(),
        };
        AnswerBatch { right: self.examples.labels(rows), candidates }
    }
}

impl AnswerBatch {
    /// Right answers that are compared with all logits.
    pub(crate) fn among_all(right: Vec<i64>) -> Self {
        Self { right, candidates: Candidates::All }
    }

    /// Selects the logits of the candidates.
    ///
    /// # Shapes
    /// - scores: `[n, answers]`
    pub(crate) fn compare(&self, scores: Tensor<2>) -> Compared {
        let device = scores.device();
        let ids = |ids: Vec<i64>, shape: [usize; 2]| Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &device);
        let n = self.right.len();
        match &self.candidates {
            Candidates::All => Compared { scores, right: self.right.clone() },
            Candidates::Among(range) => Compared {
                scores: scores.slice_dim(1, range.clone()),
                right: self.right.iter().map(|right| right - range.start as i64).collect(),
            },
            Candidates::Classes(classes) => {
                let of_row = classes.iter().map(|id| *id as i64);
                let all = std::iter::repeat_n(of_row, n).flatten().collect();
                let place = |right: &i64| classes.iter().position(|id| *id as i64 == *right).unwrap_or_default() as i64;
                Compared {
                    scores: scores.gather(1, ids(all, [n, classes.len()])),
                    right: self.right.iter().map(place).collect(),
                }
            }
            Candidates::Wrong(wrong) => {
                let pairs = self.right.iter().zip(wrong).flat_map(|(right, wrong)| [*right, *wrong as i64]).collect();
                Compared { scores: scores.gather(1, ids(pairs, [n, 2])), right: vec![0; n] }
            }
        }
    }
}

impl Compared {
    /// Number of examples whose right answer alone has the highest score. A tie is wrong.
    pub(crate) fn count_right(&self) -> i64 {
        let right = TensorData::new(self.right.clone(), [self.right.len()]);
        count_right(self.scores.clone(), Tensor::from_data(right, &self.scores.device()))
    }

    /// Differences between the scores of the right and the best other answer.
    pub(crate) fn margins(&self) -> Vec<f64> {
        let (right, other) = self.right_and_best_other();
        let values = |scores: Tensor<2>| scores.into_data().iter::<f64>().collect::<Vec<_>>();
        values(right).into_iter().zip(values(other)).map(|(right, other)| right - other).collect()
    }

    /// Sum over the examples of the differences of [`Self::margins`], `[1]`, for gradients.
    pub(crate) fn total_margin(&self) -> Tensor<1> {
        let (right, other) = self.right_and_best_other();
        (right - other).sum()
    }

    /// Sum over the examples of the logarithms of the right answers' probabilities among the candidates, `[1]`.
    pub(crate) fn total_log_probability(&self) -> Tensor<1> {
        log_softmax(self.scores.clone(), 1).gather(1, self.right_column()).sum()
    }

    /// Scores of the right answers and of the best others, `[n, 1]` each.
    fn right_and_best_other(&self) -> (Tensor<2>, Tensor<2>) {
        let [_, width] = self.scores.dims();
        let right = self.right_column();
        let is_right = Tensor::<1, Int>::arange(0..width as i64, &self.scores.device()).unsqueeze::<2>();
        let is_right = is_right.equal(right.clone());
        let best_other = self.scores.clone().mask_fill(is_right, f32::NEG_INFINITY).max_dim(1);
        (self.scores.clone().gather(1, right), best_other)
    }

    fn right_column(&self) -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(self.right.clone(), [self.right.len(), 1]), &self.scores.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn compared(candidates: Candidates, right: [i64; 2]) -> Compared {
        let scores = Tensor::<2>::from_floats([[3.0, 1.0, 2.5], [0.0, 4.0, 5.0]], &Device::default());
        AnswerBatch { right: right.into(), candidates }.compare(scores)
    }

    #[test]
    fn a_margin_is_the_right_answer_minus_the_best_other_candidate() {
        assert_eq!(compared(Candidates::All, [0, 1]).margins(), [0.5, -1.0]);
        assert_eq!(compared(Candidates::Among(0..2), [0, 1]).margins(), [2.0, 4.0]);
        assert_eq!(compared(Candidates::Classes(vec![1, 0]), [0, 1]).margins(), [2.0, 4.0]);
        assert_eq!(compared(Candidates::Wrong(vec![2, 1]), [0, 0]).margins(), [0.5, -4.0]);
    }

    #[test]
    fn accuracy_is_among_the_candidates_and_a_tie_is_wrong() {
        assert_eq!(compared(Candidates::All, [0, 1]).count_right(), 1);
        assert_eq!(compared(Candidates::Among(0..2), [0, 1]).count_right(), 2);
        assert_eq!(compared(Candidates::Classes(vec![2, 1]), [1, 1]).count_right(), 0);
        assert_eq!(compared(Candidates::Wrong(vec![0, 0]), [0, 2]).count_right(), 1, "a tie with itself");
    }
}
