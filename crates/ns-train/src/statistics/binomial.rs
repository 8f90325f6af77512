//! Tails of the binomial distribution.

use super::checks::check_probability;
use crate::error::TrainError;

/// The binomial distribution: the number of successes in `n` independent trials.
///
/// Probabilities are computed by the recurrence `P(k + 1) / P(k) = (n − k) p / ((k + 1) (1 − p))` from the most likely
/// number on, in both directions, and divided by their sum. Their relative error is about `n` times the precision of
/// `f64`, also far out in the tails: 10⁻⁸¹ has as many right digits as ½. Below 10⁻³⁰⁸ they are 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Binomial {
    probabilities: Vec<f64>,
}

impl Binomial {
    /// The distribution for `n` trials that succeed with probability `p`. Takes time and memory proportional to `n`.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if `p` is not between 0 and 1.
    pub fn new(n: usize, p: f64) -> Result<Self, TrainError> {
        check_probability("the probability of success", p)?;
        let mode = (((n + 1) as f64 * p) as usize).min(n);
        let mut weights = vec![0.0; n + 1];
        weights[mode] = 1.0;
        for k in mode..n {
            weights[k + 1] = weights[k] * ((n - k) as f64 * p) / ((k + 1) as f64 * (1.0 - p));
        }
        for k in (1..=mode).rev() {
            weights[k - 1] = weights[k] * (k as f64 * (1.0 - p)) / ((n - k + 1) as f64 * p);
        }
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        Ok(Self { probabilities: weights })
    }

    /// `P(X ≤ k)`.
    pub fn at_most(&self, k: usize) -> f64 {
        self.sum(|found| found <= k)
    }

    /// `P(X ≥ k)`.
    pub fn at_least(&self, k: usize) -> f64 {
        self.sum(|found| found >= k)
    }

    /// The probability that the number of successes is one of those that `holds` accepts.
    pub fn sum(&self, holds: impl Fn(usize) -> bool) -> f64 {
        let accepted = self.probabilities.iter().enumerate().filter(|(k, _)| holds(*k));
        accepted.map(|(_, probability)| probability).sum::<f64>().min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-11, "{found}, but {expected} was expected");
    }

    #[test]
    fn tails_worked_out_by_hand() {
        let coins = Binomial::new(4, 0.5).unwrap();
        assert_near(coins.at_most(0), 1.0 / 16.0);
        assert_near(coins.at_most(1), 5.0 / 16.0);
        assert_near(coins.at_least(3), 5.0 / 16.0);
        assert_near(coins.sum(|k| k == 2), 6.0 / 16.0);
        assert_eq!((coins.at_most(4), coins.at_most(9), coins.at_least(0), coins.at_least(5)), (1.0, 1.0, 1.0, 0.0));
        assert_near(Binomial::new(60, 0.9).unwrap().at_least(60), 0.9_f64.powi(60));
        assert_near(Binomial::new(80, 0.9).unwrap().at_most(0), 0.1_f64.powi(80));
    }

    /// Expected values from exact fractions.
    #[test]
    fn small_tails_keep_their_digits() {
        assert_near(Binomial::new(1000, 0.3).unwrap().at_most(10), 7.066_855_573_372_112e-136);
        assert_near(Binomial::new(100, 0.1).unwrap().at_least(90), 6.110_236_824_191_127e-78);
        assert_near(Binomial::new(5000, 0.5).unwrap().at_most(2000), 6.501_155_002_601_886e-46);
    }

    #[test]
    fn certain_and_impossible_successes() {
        let (never, always) = (Binomial::new(5, 0.0).unwrap(), Binomial::new(5, 1.0).unwrap());
        assert_eq!((never.at_most(0), never.at_least(1)), (1.0, 0.0));
        assert_eq!((always.at_most(4), always.at_least(5)), (0.0, 1.0));
        assert_eq!(Binomial::new(0, 0.3).unwrap().at_least(0), 1.0);
        assert!(Binomial::new(5, -0.1).is_err() && Binomial::new(5, f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn the_tails_add_up(n in 0..3000_usize, p in 0.0..1.0_f64, share in 0.0..1.0_f64) {
            let binomial = Binomial::new(n, p).unwrap();
            let k = (share * n as f64) as usize;
            prop_assert!((binomial.at_most(k) + binomial.at_least(k + 1) - 1.0).abs() < 1e-11);
            let mirrored = Binomial::new(n, 1.0 - p).unwrap();
            prop_assert!((binomial.at_most(k) - mirrored.at_least(n - k)).abs() < 1e-11);
        }
    }
}
