//! Modular arithmetic: examples are the pairs `(a, b)` below a modulus, written as tokens `a b =`; the model predicts
//! the result as the next token.

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_circuit::rng;
use ns_models::ModelInputs;
use ns_probe::ProbeBatch;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// Number of tokens of an example: `a`, `b`, `=`.
const CONTEXT: usize = 3;

/// A task of modular arithmetic over all pairs of numbers below the modulus.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arithmetic {
    /// The modulus p. The tokens 0 to p − 1 are numbers, and the token p is `=`.
    pub modulus: usize,
    /// The operation that the model computes.
    pub operation: Operation,
    /// Fraction of the pairs in the training split, in (0, 1]. The number of pairs is rounded down.
    pub train_fraction: f64,
    /// Seed of the split. A probe must use the split of its model.
    pub split_seed: u64,
}

/// The result that follows `a b =`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `(a² − b²) mod p`, as in the first experiment of Lepori et al. 2024.
    SquareDifference,
    /// `(a + b) mod p`.
    Sum,
}

/// An intermediate variable that a model may compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// The training and test split of the pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Pairs for training.
    pub train: Examples,
    /// All other pairs.
    pub test: Examples,
}

/// A list of pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examples {
    /// The pairs `(a, b)`.
    pub pairs: Vec<(usize, usize)>,
}

impl Arithmetic {
    /// Checks the modulus and the training fraction.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a value out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        if self.modulus < 2 {
            return Err(TrainError::Setting {
                setting: "task.modulus",
                found: self.modulus.to_string(),
                expected: "it must be at least 2".into(),
            });
        }
        if !(self.train_fraction > 0.0 && self.train_fraction <= 1.0) {
            return Err(TrainError::Setting {
                setting: "task.train_fraction",
                found: self.train_fraction.to_string(),
                expected: "it must be in (0, 1]".into(),
            });
        }
        Ok(())
    }

    /// A batch for a probe, which selects the last token of each example. The labels are the values of `variable`.
    pub fn probe_batch(&self, variable: Variable, examples: &Examples, device: &Device) -> ProbeBatch {
        let context = self.context();
        ProbeBatch {
            inputs: self.inputs(examples, device),
            token_mask: (0..examples.len() * context).map(|token| token % context == context - 1).collect(),
            labels: self.labels(variable, examples),
        }
    }

    /// Vocabulary size that a model of this task needs.
    pub fn vocab_size(&self) -> usize {
        self.modulus + 1
    }

    /// Number of positions that a model of this task needs.
    pub fn context(&self) -> usize {
        CONTEXT
    }

    /// Shuffles all pairs with the split seed, and splits them.
    pub fn split(&self) -> Split {
        let p = self.modulus;
        let mut pairs: Vec<_> = (0..p).flat_map(|a| (0..p).map(move |b| (a, b))).collect();
        rng::shuffle(&mut rng::stream(self.split_seed, "split", 0, 0), &mut pairs);
        let test = pairs.split_off((pairs.len() as f64 * self.train_fraction) as usize);
        Split { train: Examples { pairs }, test: Examples { pairs: test } }
    }

    /// The correct results of the operation.
    pub fn answers(&self, examples: &Examples) -> Vec<usize> {
        let p = self.modulus;
        let answer = |(a, b): (usize, usize)| match self.operation {
            Operation::SquareDifference => (a * a + p * p - b * b) % p,
            Operation::Sum => (a + b) % p,
        };
        examples.pairs.iter().copied().map(answer).collect()
    }

    /// The values of a variable.
    pub fn labels(&self, variable: Variable, examples: &Examples) -> Vec<i64> {
        let p = self.modulus;
        let value = |(a, b): (usize, usize)| match variable {
            Variable::A2 => a * a % p,
            Variable::MinusB2 => (p - b * b % p) % p,
            Variable::APlusB => (a + b) % p,
            Variable::AMinusB => (a + p - b) % p,
        };
        examples.pairs.iter().map(|pair| value(*pair) as i64).collect()
    }

    /// Index of each pair in the list of all pairs: `a · modulus + b`.
    pub fn places(&self, examples: &Examples) -> Vec<usize> {
        examples.pairs.iter().map(|(a, b)| a * self.modulus + b).collect()
    }

    /// The model inputs: token ids `a b =`, `[n, 3]`.
    pub fn inputs(&self, examples: &Examples, device: &Device) -> ModelInputs {
        let equals = self.modulus as i64;
        let ids: Vec<i64> = examples.pairs.iter().flat_map(|(a, b)| [*a as i64, *b as i64, equals]).collect();
        ModelInputs::new(Tensor::from_data(TensorData::new(ids, [examples.len(), CONTEXT]), device))
    }

    /// The correct results of the operation as a tensor, `[n]`.
    pub fn answer_tensor(&self, examples: &Examples, device: &Device) -> Tensor<1, Int> {
        let answers: Vec<i64> = self.answers(examples).into_iter().map(|answer| answer as i64).collect();
        Tensor::from_data(TensorData::new(answers, [examples.len()]), device)
    }
}

impl Examples {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pairs at these indices.
    ///
    /// # Panics
    /// Panics if an index is out of range.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self { pairs: indices.iter().map(|index| self.pairs[*index]).collect() }
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
        let Split { train, test } = TASK.split();
        assert_eq!((train.len(), test.len()), (7661, 5108));
        let all: BTreeSet<_> = train.pairs.iter().chain(&test.pairs).collect();
        assert_eq!(all.len(), 113 * 113);
        assert_eq!(TASK.split().train, train);
        assert_ne!(Arithmetic { split_seed: 1, ..TASK }.split().train, train);
    }

    #[test]
    fn answers_and_variables() {
        let examples = Examples { pairs: vec![(3, 5), (0, 0), (112, 1)] };
        assert_eq!(TASK.answers(&examples), [97, 0, 0]);
        assert_eq!(TASK.labels(Variable::A2, &examples), [9, 0, 1]);
        assert_eq!(TASK.labels(Variable::MinusB2, &examples), [88, 0, 112]);
        assert_eq!(TASK.labels(Variable::APlusB, &examples), [8, 0, 0]);
        assert_eq!(TASK.labels(Variable::AMinusB, &examples), [111, 0, 111]);
    }
}
