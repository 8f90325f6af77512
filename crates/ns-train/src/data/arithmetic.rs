//! Modular arithmetic: operations on pairs of numbers `(a, b)` below a modulus, and the variables that a model may compute.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

impl Operation {
    /// The result for a pair, modulo `p`.
    pub fn answer(self, p: usize, (a, b): (usize, usize)) -> usize {
        match self {
            Self::SquareDifference => (a * a + p * p - b * b) % p,
            Self::Sum => (a + b) % p,
        }
    }
}

impl Variable {
    /// The value for a pair, modulo `p`.
    pub fn value(self, p: usize, (a, b): (usize, usize)) -> usize {
        match self {
            Self::A2 => a * a % p,
            Self::MinusB2 => (p - b * b % p) % p,
            Self::APlusB => (a + b) % p,
            Self::AMinusB => (a + p - b) % p,
        }
    }

    /// The variable that a recipe names so; `None` if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "a2" => Some(Self::A2),
            "minus_b2" => Some(Self::MinusB2),
            "a_plus_b" => Some(Self::APlusB),
            "a_minus_b" => Some(Self::AMinusB),
            _ => None,
        }
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

    #[test]
    fn answers_and_variables() {
        let values = |value: &dyn Fn((usize, usize)) -> usize| [(3, 5), (0, 0), (112, 1)].map(value);
        assert_eq!(values(&|pair| Operation::SquareDifference.answer(113, pair)), [97, 0, 0]);
        assert_eq!(values(&|pair| Operation::Sum.answer(113, pair)), [8, 0, 0]);
        assert_eq!(values(&|pair| Variable::A2.value(113, pair)), [9, 0, 1]);
        assert_eq!(values(&|pair| Variable::MinusB2.value(113, pair)), [88, 0, 112]);
        assert_eq!(values(&|pair| Variable::APlusB.value(113, pair)), [8, 0, 0]);
        assert_eq!(values(&|pair| Variable::AMinusB.value(113, pair)), [111, 0, 111]);
    }
}
