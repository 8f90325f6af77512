//! Modular arithmetic: examples are the pairs `(a, b)` below a modulus, written as tokens `a b =`; the model predicts
//! the result as the next token.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::rng;
use ns_models::ModelInputs;
use ns_probe::ProbeBatch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::split::check_fraction;
use super::{Dataset, LabelledRows, RowSplit};
use crate::error::TrainError;

/// Number of tokens of an example: `a`, `b`, `=`.
const CONTEXT: usize = 3;

/// The largest modulus: its 100 million pairs need 3 GB of memory.
const MAX_MODULUS: usize = 10_000;

/// A task of modular arithmetic over all pairs of numbers below the modulus.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arithmetic {
    /// The modulus p, from 2 to 10,000. The tokens 0 to p − 1 are numbers, and the token p is `=`.
    pub modulus: usize,
    /// The operation that the model computes.
    pub operation: Operation,
    /// Fraction of the pairs in the training split, between 0 and 1. The number of pairs is rounded down. Both sides need
    /// at least one pair.
    pub train_fraction: f64,
    /// Seed of the split. A probe must use the split of its model.
    pub split_seed: u64,
}

/// The result that follows `a b =`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// `(a² − b²) mod p`, as in the first experiment of Lepori et al. 2024.
    SquareDifference,
    /// `(a + b) mod p`.
    Sum,
}

/// An intermediate variable that a model may compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Variable {
    /// `a² mod p`.
    A2,
    /// `−b² mod p`.
    MinusB2,
    /// `(a + b) mod p`.
    APlusB,
    /// `(a − b) mod p`.
    AMinusB,
}

/// The examples of a task: all pairs, training pairs first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArithmeticData {
    modulus: usize,
    pairs: Vec<(usize, usize)>,
    rows: LabelledRows,
}

impl Arithmetic {
    /// Checks the modulus and the training fraction.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a value out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let holds = (2..=MAX_MODULUS).contains(&self.modulus);
        let expected = format!("it must be between 2 and {MAX_MODULUS}, because all pairs below it are examples");
        TrainError::check(holds, "task.modulus", self.modulus, expected)?;
        check_fraction("task.train_fraction", self.train_fraction)?;
        let (n_train, n) = (self.n_train(), self.modulus * self.modulus);
        let expected = format!("of the {n} pairs, {n_train} would be training pairs, and both sides need at least one");
        TrainError::check((1..n).contains(&n_train), "task.train_fraction", self.train_fraction, expected)
    }

    /// Number of training pairs.
    fn n_train(&self) -> usize {
        ((self.modulus * self.modulus) as f64 * self.train_fraction) as usize
    }

    /// Vocabulary size that a model of this task needs.
    pub fn vocab_size(&self) -> usize {
        self.modulus + 1
    }

    /// Returns the task: it has no path to resolve.
    pub(super) fn resolve(self, _recipe: &Path) -> Self {
        self
    }

    /// The examples with the answer of the task as their label.
    pub(super) fn dataset(&self, _model_folder: Option<&Path>) -> Result<ArithmeticData, TrainError> {
        self.read(None)
    }

    /// Shuffles all pairs with the split seed, and splits them. The label of a pair is the value of a variable, or for
    /// `None` the answer of the task.
    ///
    /// # Errors
    /// Returns the errors of [`Self::validate`].
    pub fn read(&self, variable: Option<Variable>) -> Result<ArithmeticData, TrainError> {
        self.validate()?;
        let p = self.modulus;
        let mut pairs: Vec<_> = (0..p).flat_map(|a| (0..p).map(move |b| (a, b))).collect();
        rng::shuffle(&mut rng::stream(self.split_seed, "split", 0, 0), &mut pairs);
        let n_train = self.n_train();
        let (train, test) = ((0..n_train).collect(), (n_train..pairs.len()).collect());
        let split = RowSplit { train, test, ..RowSplit::default() };
        let labels = pairs.iter().map(|pair| self.value(variable, *pair)).collect();
        let rows = LabelledRows { labels, n_answers: p, split, ..LabelledRows::default() };
        Ok(ArithmeticData { modulus: p, pairs, rows })
    }

    /// The value of a variable, or for `None` the result of the operation.
    pub fn value(&self, variable: Option<Variable>, (a, b): (usize, usize)) -> usize {
        let p = self.modulus;
        match (variable, self.operation) {
            (None, Operation::SquareDifference) => (a * a + p * p - b * b) % p,
            (None, Operation::Sum) | (Some(Variable::APlusB), _) => (a + b) % p,
            (Some(Variable::A2), _) => a * a % p,
            (Some(Variable::MinusB2), _) => (p - b * b % p) % p,
            (Some(Variable::AMinusB), _) => (a + p - b) % p,
        }
    }
}

impl Dataset for ArithmeticData {
    fn rows(&self) -> &LabelledRows {
        &self.rows
    }

    /// Token ids `a b =`, `[rows, 3]`. The last token is read.
    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError> {
        let tokens = |row: &usize| [self.pairs[*row].0, self.pairs[*row].1, self.modulus];
        let ids: Vec<i64> = rows.iter().flat_map(tokens).map(|token| token as i64).collect();
        Ok(ProbeBatch {
            inputs: ModelInputs::new(Tensor::from_data(TensorData::new(ids, [rows.len(), CONTEXT]), device)),
            token_mask: [false, false, true].repeat(rows.len()),
            labels: self.labels(rows),
            means: Vec::new(),
        })
    }
}

impl std::fmt::Display for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::A2 => "a²",
            Self::MinusB2 => "−b²",
            Self::APlusB => "a+b",
            Self::AMinusB => "a−b",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const TASK: Arithmetic =
        Arithmetic { modulus: 113, operation: Operation::SquareDifference, train_fraction: 0.6, split_seed: 0 };

    #[test]
    fn the_split_has_every_pair_once() {
        let data = TASK.read(None).unwrap();
        let RowSplit { train, test, .. } = data.split();
        assert_eq!((train.len(), test.len()), (7661, 5108));
        assert_eq!([&train[..], test].concat(), (0..113 * 113).collect::<Vec<_>>());
        assert_eq!(data.pairs.iter().collect::<BTreeSet<_>>().len(), 113 * 113);
        assert_eq!(TASK.read(None).unwrap(), data);
        assert_ne!(Arithmetic { split_seed: 1, ..TASK }.read(None).unwrap().pairs, data.pairs);
    }

    #[test]
    fn a_task_without_training_or_test_pairs_and_a_huge_one_are_refused() {
        let error = |task: Arithmetic| task.read(None).unwrap_err().to_string();
        for modulus in [0, 1, 10_001, 1_000_000_000, usize::MAX] {
            assert!(error(Arithmetic { modulus, ..TASK }).contains("between 2 and 10000"), "{modulus}");
        }
        for train_fraction in [0.0, 1.0, 1.5, f64::NAN] {
            assert!(error(Arithmetic { train_fraction, ..TASK }).contains("between 0 and 1"), "{train_fraction}");
        }
        let error = error(Arithmetic { modulus: 2, train_fraction: 0.1, ..TASK });
        assert!(error.contains("of the 4 pairs, 0 would be training pairs"), "{error}");
    }

    #[test]
    fn answers_and_variables() {
        let values = |variable| [(3, 5), (0, 0), (112, 1)].map(|pair| TASK.value(variable, pair));
        assert_eq!(values(None), [97, 0, 0]);
        assert_eq!(values(Some(Variable::A2)), [9, 0, 1]);
        assert_eq!(values(Some(Variable::MinusB2)), [88, 0, 112]);
        assert_eq!(values(Some(Variable::APlusB)), [8, 0, 0]);
        assert_eq!(values(Some(Variable::AMinusB)), [111, 0, 111]);
    }

    #[test]
    fn a_batch_reads_the_last_token() {
        let data = TASK.read(Some(Variable::APlusB)).unwrap();
        let batch = data.batch(&[7, 0], &Device::default()).unwrap();
        let ids = batch.inputs.tokens().unwrap().to_data().iter::<i64>().collect::<Vec<_>>();
        let [(a, b), (c, d)] = [data.pairs[7], data.pairs[0]].map(|(a, b)| (a as i64, b as i64));
        assert_eq!(ids, [a, b, 113, c, d, 113]);
        assert_eq!(batch.token_mask, [false, false, true, false, false, true]);
        assert_eq!(batch.labels, [(a + b) % 113, (c + d) % 113]);
    }
}
