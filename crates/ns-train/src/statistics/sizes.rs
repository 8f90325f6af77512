//! Circuits of the best units by score, in several sizes.

use super::checks::{check_comparable, check_not_more};
use crate::error::TrainError;

/// Shares of the units at which the Mechanistic Interpretability Benchmark (Mueller et al. 2025,
/// <https://arxiv.org/abs/2504.13151>) measures circuits: `percentages` in `MIB_circuit_track/evaluation.py`.
pub const MIB_SHARES: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// By which number units are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScoreOrder {
    /// By `|score|`: the units with the largest effect in either direction come first.
    Absolute,
    /// By the score with its sign: the units with the most positive score come first.
    Signed,
}

/// Numbers of units in circuits that keep the `shares` of `n` units: `⌊share · n⌋`, computed in `f64` like Python's
/// `int(share * n)`. A small share of few units is 0 units.
///
/// # Errors
/// Returns [`TrainError::Setting`] for a share that is not between 0 and 1.
pub fn circuit_sizes(shares: &[f64], n: usize) -> Result<Vec<usize>, TrainError> {
    let size = |share: &f64| {
        TrainError::check((0.0..=1.0).contains(share), "a share of the units", share, "it must be between 0 and 1")?;
        Ok((share * n as f64) as usize)
    };
    shares.iter().map(size).collect()
}

/// Indices of the `k` best units, the best first. Units with equal scores are in the order of their indices.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no scores, if a score is NaN, or if `k` exceeds their number.
pub fn best_units(scores: &[f64], order: ScoreOrder, k: usize) -> Result<Vec<usize>, TrainError> {
    check_comparable("`scores`", scores)?;
    check_not_more("the number of units", k, scores.len())?;
    // Adding 0 turns −0 into 0, so that the two are equal.
    let key = |index: &usize| match order {
        ScoreOrder::Absolute => scores[*index].abs(),
        ScoreOrder::Signed => scores[*index] + 0.0,
    };
    let mut indices: Vec<usize> = (0..scores.len()).collect();
    indices.sort_by(|left, right| key(right).total_cmp(&key(left)));
    indices.truncate(k);
    Ok(indices)
}

/// Whether each unit is one of the `k` best, as in [`best_units`].
///
/// # Errors
/// Returns the errors of [`best_units`].
pub fn membership(scores: &[f64], order: ScoreOrder, k: usize) -> Result<Vec<bool>, TrainError> {
    let mut is_member = vec![false; scores.len()];
    best_units(scores, order, k)?.into_iter().for_each(|unit| is_member[unit] = true);
    Ok(is_member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_down_like_pythons_int() {
        assert_eq!(circuit_sizes(&MIB_SHARES, 1200).unwrap(), [1, 2, 6, 12, 24, 60, 120, 240, 600, 1200]);
        assert_eq!(circuit_sizes(&MIB_SHARES, 12).unwrap(), [0, 0, 0, 0, 0, 0, 1, 2, 6, 12]);
        // int(0.29 * 100) is 28 and int(0.57 * 100) is 56, because the products are just below the integers.
        assert_eq!(circuit_sizes(&[0.29, 0.57, 0.1], 100).unwrap(), [28, 56, 10]);
        assert_eq!(circuit_sizes(&MIB_SHARES, 0).unwrap(), [0; 10]);
        for share in [-0.1, 1.5, f64::NAN] {
            assert!(circuit_sizes(&[share], 3).is_err());
        }
    }

    #[test]
    fn units_are_ordered_by_score_and_then_by_index() {
        let scores = [0.5, -2.0, 1.0, -0.5, 0.5, -0.0, 0.0];
        assert_eq!(best_units(&scores, ScoreOrder::Absolute, 7).unwrap(), [1, 2, 0, 3, 4, 5, 6]);
        assert_eq!(best_units(&scores, ScoreOrder::Signed, 7).unwrap(), [2, 0, 4, 5, 6, 3, 1]);
        let expected = [true, true, true, false, false, false, false];
        assert_eq!(membership(&scores, ScoreOrder::Absolute, 3).unwrap(), expected);
        assert_eq!(membership(&scores, ScoreOrder::Signed, 0).unwrap(), [false; 7]);
        assert!(best_units(&scores, ScoreOrder::Signed, 8).is_err());
        assert!(best_units(&[], ScoreOrder::Signed, 0).is_err());
        assert!(best_units(&[1.0, f64::NAN], ScoreOrder::Absolute, 1).unwrap_err().to_string().contains("index 1"));
    }
}
