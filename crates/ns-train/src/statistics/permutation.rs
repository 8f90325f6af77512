//! Permutation tests: two samples, paired differences, and a value among controls.

use ns_circuit::rng;

use super::checks::{check_comparable, check_finite};
use crate::error::TrainError;

/// Rounding errors of a statistic, relative to its summands. Arrangements whose statistics differ by less are ties.
const ROUNDING: f64 = 1e-12;

/// Which arrangements of the data a permutation test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrangements {
    /// All arrangements are counted if there are at most this many; otherwise a random sample of them.
    pub limit: u64,
    /// Number of arrangements in a random sample.
    pub draws: u64,
    /// Seed of the sample.
    pub seed: u64,
}

impl Default for Arrangements {
    /// All arrangements up to 2²⁰ of them (all signs of 20 differences), otherwise a sample of 99,999.
    fn default() -> Self {
        Self { limit: 1 << 20, draws: 99_999, seed: 0 }
    }
}

/// Result of a permutation test. Each p-value is the share of the arrangements, the observed one included, whose statistic
/// is as extreme as the observed one. Values that differ only by rounding count as equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PermutationTest {
    /// The observed statistic.
    pub statistic: f64,
    /// Number of arrangements that were counted. In a random sample the observed one is an additional arrangement.
    pub arrangements: u64,
    /// Whether these are all arrangements, so that the p-values are exact.
    pub is_exact: bool,
    /// Share of the arrangements with a statistic of at least the observed one.
    pub p_greater: f64,
    /// Share of the arrangements with a statistic of at most the observed one.
    pub p_less: f64,
    /// Share of the arrangements whose statistic is at least as far from 0.
    pub p_absolute: f64,
}

impl PermutationTest {
    /// The two-sided p-value of scipy's `permutation_test`: twice the smaller one-sided one, at most 1.
    pub fn p_doubled(&self) -> f64 {
        (2.0 * self.p_greater.min(self.p_less)).min(1.0)
    }
}

/// A value among the same measurement of controls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControlTest {
    /// Number of controls that are at most the observed value.
    pub at_most: usize,
    /// Number of controls that are at least the observed value.
    pub at_least: usize,
    /// One-sided p-value `(1 + at_most) / (1 + controls)`: small if the observed value is smaller than most controls.
    pub p_less: f64,
    /// One-sided p-value `(1 + at_least) / (1 + controls)`: small if the observed value is larger than most controls.
    pub p_greater: f64,
}

/// Tests whether two samples have the same distribution. The statistic is `mean(a) − mean(b)`, the arrangements are all
/// splits of the pooled values into samples of the same sizes, `(n_a + n_b)! / (n_a! n_b!)` of them.
///
/// # Errors
/// Returns [`TrainError::Setting`] if a sample is empty, or if a value is not finite or too large to be summed.
pub fn two_samples(a: &[f64], b: &[f64], arrangements: Arrangements) -> Result<PermutationTest, TrainError> {
    check_finite("the first sample", a)?;
    check_finite("the second sample", b)?;
    // Differences of means do not change with the origin. Near 0, sums are the most exact.
    let origin = a[0];
    let mut pooled: Vec<f64> = a.iter().chain(b).map(|value| value - origin).collect();
    let (n, total): (usize, f64) = (pooled.len(), pooled.iter().sum());
    // The statistic times n_a · n_b, so that values with few binary digits have exact ties.
    let statistic = |sum_of_a: f64| sum_of_a * n as f64 - total * a.len() as f64;
    let observed = statistic(pooled[..a.len()].iter().sum());
    let scale = n as f64 * pooled.iter().map(|value| value.abs()).sum::<f64>();
    let mut counts = Counts::new(observed, scale)?;
    let smaller = a.len().min(b.len());
    let sum_of_a = |sum: f64| if a.len() <= b.len() { sum } else { total - sum };
    let all = binomial_coefficient(n, smaller, arrangements.limit);
    match all {
        Some(_) => each_split(&pooled, smaller, 0.0, &mut |sum| counts.add(statistic(sum_of_a(sum)))),
        None => {
            counts.add(observed);
            let mut stream = rng::stream(arrangements.seed, "two samples", 0, 0);
            for _ in 0..arrangements.draws {
                // The first steps of a Fisher–Yates shuffle. The order before it does not matter.
                (0..smaller).for_each(|place| pooled.swap(place, place + rng::below(&mut stream, n - place)));
                counts.add(statistic(sum_of_a(pooled[..smaller].iter().sum())));
            }
        }
    }
    Ok(counts.test(mean(a) - mean(b), all.is_some()))
}

/// Tests whether paired differences are symmetric about 0. The statistic is the mean of the differences, the arrangements
/// are all `2ⁿ` choices of their signs.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no differences, or if one is not finite or too large to be summed.
pub fn sign_flips(differences: &[f64], arrangements: Arrangements) -> Result<PermutationTest, TrainError> {
    check_finite("`differences`", differences)?;
    let scale = differences.iter().map(|value| value.abs()).sum();
    let observed = differences.iter().sum();
    let mut counts = Counts::new(observed, scale)?;
    let exponent = u32::try_from(differences.len()).unwrap_or(u32::MAX);
    let is_exact = 1_u64.checked_shl(exponent).is_some_and(|all| all <= arrangements.limit);
    if is_exact {
        each_sign(differences, 0.0, &mut |sum| counts.add(sum));
    } else {
        counts.add(observed);
        let mut stream = rng::stream(arrangements.seed, "sign flips", 0, 0);
        for _ in 0..arrangements.draws {
            let signed = differences.iter().map(|value| if rng::below(&mut stream, 2) == 0 { *value } else { -value });
            counts.add(signed.sum());
        }
    }
    Ok(counts.test(mean(differences), is_exact))
}

/// Compares an observed value with the same measurement of controls, such as random circuits of the same size.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no controls, or if a value is NaN.
pub fn among_controls(observed: f64, controls: &[f64]) -> Result<ControlTest, TrainError> {
    check_comparable("the observed value", &[observed])?;
    check_comparable("`controls`", controls)?;
    let count = |is_extreme: &dyn Fn(f64) -> bool| controls.iter().filter(|value| is_extreme(**value)).count();
    let (at_most, at_least) = (count(&|value| value <= observed), count(&|value| value >= observed));
    let [p_less, p_greater] = [at_most, at_least].map(|count| p_value_among(count, controls.len()));
    Ok(ControlTest { at_most, at_least, p_less, p_greater })
}

/// p-value of an observation of which `count` of `controls` are as extreme: the observation is counted among them.
pub(crate) fn p_value_among(count: usize, controls: usize) -> f64 {
    (1 + count) as f64 / (1 + controls) as f64
}

/// How many statistics are as extreme as the observed one.
struct Counts {
    observed: f64,
    tolerance: f64,
    all: u64,
    greater: u64,
    less: u64,
    absolute: u64,
}

impl Counts {
    /// `scale` is the sum of the absolute summands of the statistic.
    fn new(observed: f64, scale: f64) -> Result<Self, TrainError> {
        let expected = "the sums of a permutation test must be finite";
        TrainError::check(scale.is_finite(), "the sum of the absolute values", scale, expected)?;
        Ok(Self { observed, tolerance: scale * ROUNDING, all: 0, greater: 0, less: 0, absolute: 0 })
    }

    fn add(&mut self, statistic: f64) {
        self.all += 1;
        self.greater += u64::from(statistic >= self.observed - self.tolerance);
        self.less += u64::from(statistic <= self.observed + self.tolerance);
        self.absolute += u64::from(statistic.abs() >= self.observed.abs() - self.tolerance);
    }

    fn test(self, statistic: f64, is_exact: bool) -> PermutationTest {
        let [p_greater, p_less, p_absolute] =
            [self.greater, self.less, self.absolute].map(|count| count as f64 / self.all as f64);
        PermutationTest { statistic, arrangements: self.all, is_exact, p_greater, p_less, p_absolute }
    }
}

/// Visits the sum of every choice of `k` values, added to `sum`.
fn each_split(values: &[f64], k: usize, sum: f64, visit: &mut impl FnMut(f64)) {
    if k == 0 {
        return visit(sum);
    }
    for first in 0..=values.len() - k {
        each_split(&values[first + 1..], k - 1, sum + values[first], visit);
    }
}

/// Visits the sum of the values with every choice of their signs, added to `sum`.
fn each_sign(values: &[f64], sum: f64, visit: &mut impl FnMut(f64)) {
    match values {
        [] => visit(sum),
        [first, rest @ ..] => {
            each_sign(rest, sum + first, visit);
            each_sign(rest, sum - first, visit);
        }
    }
}

/// The number of choices of `k` of `n` items; `None` if it exceeds `limit`. `k` must be at most half of `n`, where the
/// partial results rise.
fn binomial_coefficient(n: usize, k: usize, limit: u64) -> Option<u64> {
    let limit = u128::from(limit);
    let mut found = 1_u128;
    for index in 0..k as u128 {
        found = found * (n as u128 - index) / (index + 1);
        if found > limit {
            return None;
        }
    }
    u64::try_from(found).ok()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_samples_are_compared_over_all_splits() {
        // The sums of two of {1, 2, 3, 4, 5} are 3, 4, 5, 5, 6, 6, 7, 7, 8, 9; the observed one is 9.
        let found = two_samples(&[4.0, 5.0], &[1.0, 2.0, 3.0], Arrangements::default()).unwrap();
        assert_eq!((found.statistic, found.arrangements, found.is_exact), (2.5, 10, true));
        // A sum of 3 has the statistic 1.5 − 4 = −2.5, as far from 0.
        assert_eq!((found.p_greater, found.p_less, found.p_absolute), (0.1, 1.0, 0.2));
        assert_eq!(found.p_doubled(), 0.2);
        let turned = two_samples(&[1.0, 2.0, 3.0], &[4.0, 5.0], Arrangements::default()).unwrap();
        assert_eq!((turned.statistic, turned.p_greater, turned.p_less), (-2.5, 1.0, 0.1));
    }

    #[test]
    fn ties_are_found_in_spite_of_rounding() {
        // 0.1 + 0.2 differs from 0.3 by rounding: the splits {0.1, 0.2} and {0.3, 0} are a tie.
        let found = two_samples(&[0.1, 0.2], &[0.3, 0.0], Arrangements::default()).unwrap();
        assert_eq!((found.arrangements, found.p_absolute), (6, 1.0));
        assert_eq!(found.p_greater, found.p_less);
        let far = two_samples(&[1e6 + 0.25, 1e6], &[1e6, 1e6 + 0.125], Arrangements::default()).unwrap();
        // Three of the six splits have a sum of at least 0.25 above 2e6, five one of at most that.
        assert_eq!((far.p_greater, far.p_less), (3.0 / 6.0, 5.0 / 6.0));
    }

    #[test]
    fn signs_of_differences_are_flipped() {
        // The sums are 3, 1, −1, −3.
        let found = sign_flips(&[2.0, -1.0], Arrangements::default()).unwrap();
        assert_eq!((found.statistic, found.arrangements), (0.5, 4));
        assert_eq!((found.p_greater, found.p_less, found.p_absolute), (0.5, 0.75, 1.0));
        let all = sign_flips(&[1.0; 10], Arrangements::default()).unwrap();
        assert_eq!((all.p_greater, all.p_absolute), (1.0 / 1024.0, 2.0 / 1024.0));
        assert_eq!(sign_flips(&[0.0; 3], Arrangements::default()).unwrap().p_greater, 1.0);
    }

    #[test]
    fn many_arrangements_are_sampled() {
        let sampled = Arrangements { limit: 100, draws: 19_999, seed: 3 };
        let (a, b) = ([0.5, 1.5, 2.0, 3.0, 4.5, 2.5], [0.0, 1.0, 2.0, 1.0, 3.5, 0.5, 1.0]);
        let differences = [1.0, -0.5, 2.0, 0.5, -1.0, 1.5, 0.25, -0.75, 1.25];
        let tests = |arrangements| {
            [two_samples(&a, &b, arrangements).unwrap(), sign_flips(&differences, arrangements).unwrap()]
        };
        for (sample, exact) in tests(sampled).into_iter().zip(tests(Arrangements::default())) {
            assert_eq!((sample.arrangements, sample.is_exact, exact.is_exact), (20_000, false, true));
            assert_eq!(sample.statistic, exact.statistic);
            // Four standard errors of a share near ½ are 0.014.
            assert!((sample.p_greater - exact.p_greater).abs() < 0.014, "{sample:?} {exact:?}");
            assert!((sample.p_absolute - exact.p_absolute).abs() < 0.014, "{sample:?} {exact:?}");
        }
        assert_eq!(tests(sampled), tests(sampled));
        let none = Arrangements { draws: 0, ..sampled };
        assert!(tests(none).iter().all(|test| test.p_greater == 1.0 && test.arrangements == 1));
    }

    #[test]
    fn large_samples_with_one_member_are_exact() {
        let many: Vec<f64> = (0..20_000).map(f64::from).collect();
        let found = two_samples(&many, &[20_000.0], Arrangements::default()).unwrap();
        assert_eq!((found.arrangements, found.p_less), (20_001, 1.0 / 20_001.0));
        assert!(!sign_flips(&many, Arrangements { draws: 2, ..Arrangements::default() }).unwrap().is_exact);
    }

    #[test]
    fn controls_count_the_observed_value() {
        let found = among_controls(0.5, &[0.5, 0.9, 0.25, 0.8]).unwrap();
        assert_eq!(found, ControlTest { at_most: 2, at_least: 3, p_less: 0.6, p_greater: 0.8 });
        assert!(among_controls(0.5, &[]).is_err() && among_controls(f64::NAN, &[1.0]).is_err());
    }

    #[test]
    fn samples_without_a_result_are_refused() {
        let test = |a: &[f64], b: &[f64]| two_samples(a, b, Arrangements::default());
        assert!(test(&[], &[1.0]).is_err() && test(&[1.0], &[]).is_err());
        assert!(test(&[f64::NAN], &[1.0]).is_err() && test(&[1e308, -1e308], &[1e308]).is_err());
        assert!(sign_flips(&[], Arrangements::default()).is_err());
        assert!(sign_flips(&[f64::INFINITY], Arrangements::default()).is_err());
    }

    #[test]
    fn coefficients_stop_at_the_limit() {
        assert_eq!(binomial_coefficient(13, 6, 1716), Some(1716));
        assert_eq!(binomial_coefficient(13, 6, 1715), None);
        assert_eq!(binomial_coefficient(5, 0, 1), Some(1));
        assert_eq!(binomial_coefficient(1_000_000, 500_000, u64::MAX), None);
    }

    proptest! {
        #[test]
        fn p_values_are_shares_that_include_the_observed_arrangement(
            a in proptest::collection::vec(-2.0..2.0_f64, 1..6),
            b in proptest::collection::vec(-2.0..2.0_f64, 1..6),
        ) {
            for test in [two_samples(&a, &b, Arrangements::default()).unwrap(), sign_flips(&a, Arrangements::default()).unwrap()] {
                let least = 1.0 / test.arrangements as f64;
                for p in [test.p_greater, test.p_less, test.p_absolute, test.p_doubled()] {
                    prop_assert!(p >= least && p <= 1.0);
                }
                prop_assert!(test.p_greater + test.p_less >= 1.0 + least - 1e-12);
            }
        }
    }
}
