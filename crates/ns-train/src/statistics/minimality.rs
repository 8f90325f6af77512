//! Tests of a circuit against random circuits: minimality, sufficiency and partial necessity.
//!
//! They are those of Shi et al. 2024 (<https://arxiv.org/abs/2410.13032>; code blei-lab/circuitry, commit `ec9850b`). Each
//! counts how many random circuits a circuit beats, and compares the count with a binomial distribution: if it beat each
//! with the probability `quantile`, it would beat `Binomial(random circuits, quantile)` of them.

use super::binomial::Binomial;
use super::checks::{check_comparable, check_finite, check_length, check_probability};
use crate::error::TrainError;

/// Result of [`minimality`].
#[derive(Clone, Debug, PartialEq)]
pub struct Minimality {
    /// For each unit, how many random effects its effect exceeds.
    pub wins: Vec<usize>,
    /// For each unit, `P(Binomial(random effects, quantile) ≤ wins)`. A small value says that the unit matters no more than
    /// a random one.
    pub p_values: Vec<f64>,
    /// Whether each p-value is below `alpha / units` (Bonferroni). The paper's code does not correct for the number of
    /// units.
    pub bonferroni_rejected: Vec<bool>,
    /// Whether no unit is rejected.
    pub is_minimal: bool,
}

/// Result of [`sufficiency`] or [`partial_necessity`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceTest {
    /// How many random circuits the circuit beats.
    pub wins: usize,
    /// `P(Binomial(random circuits, quantile) ≥ wins)`. A small value says that the circuit beats more than the share
    /// `quantile` of random circuits.
    pub p_value: f64,
}

/// Mean of `(left − right)²`. The effect of a unit is that of the scores of the circuit with and without it; the distance
/// of a circuit from the model is that of their scores.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no scores, if the lengths differ, or if a score is not finite.
pub fn mean_squared_difference(left: &[f64], right: &[f64]) -> Result<f64, TrainError> {
    check_finite("the first list of scores", left)?;
    check_finite("the second list of scores", right)?;
    check_length("the second list of scores", right.len(), "the first one", left.len())?;
    let squares = left.iter().zip(right).map(|(left, right)| (left - right).powi(2));
    Ok(squares.sum::<f64>() / left.len() as f64)
}

/// Tests whether each unit of a circuit is needed. `unit_effects` are the effects of removing each unit from the circuit,
/// `random_effects` those of removing a random unit from a circuit to which it was added.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no effects, if one is NaN, or if `quantile` or `alpha` is not between 0
/// and 1.
pub fn minimality(
    unit_effects: &[f64],
    random_effects: &[f64],
    quantile: f64,
    alpha: f64,
) -> Result<Minimality, TrainError> {
    check_comparable("the effects of the units", unit_effects)?;
    check_comparable("the random effects", random_effects)?;
    check_probability("`quantile`", quantile)?;
    check_probability("`alpha`", alpha)?;
    let binomial = Binomial::new(random_effects.len(), quantile)?;
    let exceeded = |effect: &f64| random_effects.iter().filter(|random| effect > random).count();
    let wins: Vec<usize> = unit_effects.iter().map(exceeded).collect();
    let p_values: Vec<f64> = wins.iter().map(|wins| binomial.at_most(*wins)).collect();
    let level = alpha / unit_effects.len() as f64;
    let bonferroni_rejected: Vec<bool> = p_values.iter().map(|p| *p < level).collect();
    let is_minimal = bonferroni_rejected.iter().all(|rejected| !rejected);
    Ok(Minimality { wins, p_values, bonferroni_rejected, is_minimal })
}

/// Tests whether a circuit is closer to the model than random circuits. `distance` and `random_distances` are those of the
/// circuit and of random circuits from the model; the circuit beats a random one that is as far away or farther.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no random circuits, if a distance is NaN, or if `quantile` is not between
/// 0 and 1.
pub fn sufficiency(distance: f64, random_distances: &[f64], quantile: f64) -> Result<ReferenceTest, TrainError> {
    reference_test(distance, random_distances, quantile, |random| random >= distance)
}

/// Tests whether the model needs a circuit more than random circuits. `loss` and `random_losses` are the distances from
/// the model of the complement of the circuit and of random circuits; the circuit beats a random one whose loss is
/// smaller.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no random circuits, if a loss is NaN, or if `quantile` is not between 0
/// and 1.
pub fn partial_necessity(loss: f64, random_losses: &[f64], quantile: f64) -> Result<ReferenceTest, TrainError> {
    reference_test(loss, random_losses, quantile, |random| random < loss)
}

fn reference_test(
    value: f64,
    random: &[f64],
    quantile: f64,
    is_beaten: impl Fn(f64) -> bool,
) -> Result<ReferenceTest, TrainError> {
    check_comparable("the value of the circuit", &[value])?;
    check_comparable("the list of random circuits", random)?;
    check_probability("`quantile`", quantile)?;
    let wins = random.iter().filter(|random| is_beaten(**random)).count();
    Ok(ReferenceTest { wins, p_value: Binomial::new(random.len(), quantile)?.at_least(wins) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_with_a_small_effect_are_rejected() {
        // Among 10 random effects: a unit that exceeds 9, one that exceeds all, and one that exceeds none.
        let random: Vec<f64> = (1..=10).map(f64::from).collect();
        let found = minimality(&[10.0, 11.0, 1.0], &random, 0.9, 0.05).unwrap();
        assert_eq!(found.wins, [9, 10, 0]);
        let expected = [1.0 - 0.9_f64.powi(10), 1.0, 1e-10];
        assert!(found.p_values.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-14));
        assert_eq!((found.bonferroni_rejected, found.is_minimal), (vec![false, false, true], false));
        assert!(minimality(&[10.0, 11.0], &random, 0.9, 0.05).unwrap().is_minimal);
    }

    #[test]
    fn the_level_is_divided_by_the_number_of_units() {
        // P(Binomial(2, 0.8) ≤ 0) = 0.04 is below 0.05, but not below 0.05 / 2.
        let found = |effects: &[f64]| minimality(effects, &[1.0, 2.0], 0.8, 0.05).unwrap().bonferroni_rejected;
        assert_eq!(found(&[0.0]), [true]);
        assert_eq!(found(&[0.0, 0.0]), [false, false]);
    }

    #[test]
    fn ties_count_for_sufficiency_only() {
        let random = [1.0, 2.0, 2.0, 3.0];
        let close = sufficiency(2.0, &random, 0.5).unwrap();
        assert_eq!(close.wins, 3);
        assert!((close.p_value - 5.0 / 16.0).abs() < 1e-15);
        let needed = partial_necessity(2.0, &random, 0.5).unwrap();
        assert_eq!(needed.wins, 1);
        assert!((needed.p_value - 15.0 / 16.0).abs() < 1e-15);
    }

    #[test]
    fn effects_are_mean_squares() {
        assert_eq!(mean_squared_difference(&[1.0, 2.0], &[0.0, 4.0]).unwrap(), 2.5);
        assert!(mean_squared_difference(&[1.0], &[1.0, 2.0]).is_err() && mean_squared_difference(&[], &[]).is_err());
    }

    #[test]
    fn unusable_effects_are_refused() {
        assert!(minimality(&[], &[1.0], 0.9, 0.05).is_err() && minimality(&[1.0], &[], 0.9, 0.05).is_err());
        assert!(minimality(&[f64::NAN], &[1.0], 0.9, 0.05).is_err() && minimality(&[1.0], &[1.0], 1.1, 0.05).is_err());
        assert!(minimality(&[1.0], &[1.0], 0.9, -0.05).is_err());
        assert!(sufficiency(1.0, &[], 0.9).is_err() && partial_necessity(f64::NAN, &[1.0], 0.9).is_err());
    }
}
