//! Test of the equivalence of a circuit and the whole model.

use super::binomial::Binomial;
use super::checks::{check_finite, check_length};
use crate::error::TrainError;

/// Result of [`equivalence`].
#[derive(Clone, Debug, PartialEq)]
pub struct Equivalence {
    /// Number of examples whose score is higher with the circuit than with the whole model.
    pub wins: usize,
    /// Number of examples with equal scores. They are no wins.
    pub ties: usize,
    /// `|wins / n − ½|`.
    pub statistic: f64,
    /// p-value for each ε.
    pub p_values: Vec<f64>,
}

/// Tests whether a circuit is as often better as it is worse than the whole model (Shi et al. 2024,
/// <https://arxiv.org/abs/2410.13032>; code blei-lab/circuitry, commit `ec9850b`). `full` and `circuit` are scores of the
/// same examples, higher is better.
///
/// The null hypothesis is `|P(circuit > full) − ½| < ε`, so a small p-value speaks against equivalence. The p-value is
/// `Σ C(n, k) (½ + ε)^k (½ − ε)^(n − k)` over all `k` that are at least as far from `n / 2` as the number of wins.
///
/// Two things differ from that code. Its statistic is the mean difference of the scores where its formula has the share
/// of wins; here it is the share. It compares `|k/n − ½|` in floating point, which can lose the mirror image of the
/// observed count; here integers are compared.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no scores, if the lengths differ, if a score is not finite, or if an ε is
/// not between 0 and ½.
pub fn equivalence(full: &[f64], circuit: &[f64], epsilons: &[f64]) -> Result<Equivalence, TrainError> {
    check_finite("the scores of the full model", full)?;
    check_finite("the scores of the circuit", circuit)?;
    check_length("the list of the circuit's scores", circuit.len(), "the one of the full model", full.len())?;
    let count =
        |holds: fn(&f64, &f64) -> bool| full.iter().zip(circuit).filter(|(full, found)| holds(full, found)).count();
    let (n, wins, ties) = (full.len(), count(|full, found| found > full), count(|full, found| found == full));
    // Twice the distance of a count from n / 2.
    let distance = |count: usize| (2 * count).abs_diff(n);
    let p_value = |epsilon: &f64| {
        TrainError::check((0.0..=0.5).contains(epsilon), "epsilon", epsilon, "it must be between 0 and 0.5")?;
        Ok(Binomial::new(n, 0.5 + epsilon)?.sum(|count| distance(count) >= distance(wins)))
    };
    let p_values = epsilons.iter().map(p_value).collect::<Result<_, TrainError>>()?;
    Ok(Equivalence { wins, ties, statistic: (wins as f64 / n as f64 - 0.5).abs(), p_values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_far_from_half_are_summed() {
        // Three wins and a tie in four examples: k = 1 and 3 are as far from 2, 0 and 4 farther.
        let found = equivalence(&[0.0, 0.0, 0.0, 0.0], &[1.0, 0.0, 2.0, 1.0], &[0.0, 0.25, 0.5]).unwrap();
        assert_eq!((found.wins, found.ties, found.statistic), (3, 1, 0.25));
        let expected = [10.0 / 16.0, 1.0 - 6.0 * 0.75_f64.powi(2) * 0.25_f64.powi(2), 1.0];
        for (found, expected) in found.p_values.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-14, "{found} {expected}");
        }
    }

    #[test]
    fn half_of_the_wins_are_no_evidence() {
        let found = equivalence(&[0.0, 1.0], &[1.0, 0.0], &[0.0, 0.1]).unwrap();
        assert_eq!((found.wins, found.statistic), (1, 0.0));
        assert!(found.p_values.iter().all(|p| (p - 1.0).abs() < 1e-14));
    }

    #[test]
    fn the_mirror_image_of_the_observed_count_is_included() {
        // 17 and 23 wins of 40 are as far from 20.
        let scores = |wins: usize| (0..40).map(|index| f64::from(u8::from(index < wins))).collect::<Vec<f64>>();
        let p = |wins| equivalence(&[0.5; 40], &scores(wins), &[0.0]).unwrap().p_values[0];
        assert!((p(17) - p(23)).abs() < 1e-14 && (p(17) - 0.429_590_507_843_386).abs() < 1e-12);
    }

    #[test]
    fn unusable_scores_are_refused() {
        assert!(equivalence(&[], &[], &[0.1]).is_err());
        assert!(equivalence(&[1.0], &[1.0, 2.0], &[0.1]).is_err());
        assert!(equivalence(&[1.0], &[f64::NAN], &[0.1]).is_err());
        for epsilon in [-0.1, 0.6, f64::NAN] {
            assert!(equivalence(&[1.0], &[2.0], &[epsilon]).is_err());
        }
    }
}
