//! Test of the independence of two scores by the Hilbert–Schmidt independence criterion.

use ns_circuit::rng;

use super::checks::{check_finite, check_length};
use super::permutation::p_value_among;
use crate::error::TrainError;

/// Relative rounding error of a statistic. Permutations whose statistics differ by less are ties.
const ROUNDING: f64 = 1e-12;

/// Result of [`independence`].
#[derive(Clone, Debug, PartialEq)]
pub struct Independence {
    /// Width of the kernels.
    pub sigma: f64,
    /// The observed statistic.
    pub hsic: f64,
    /// The statistic of each permutation.
    pub permuted_statistics: Vec<f64>,
    /// Number of permutations whose statistic is at least the observed one.
    pub at_least: usize,
    /// `at_least / permutations`, as in the paper's code. It can be 0.
    pub p_value: f64,
    /// `(1 + at_least) / (1 + permutations)`, which counts the observed order as well.
    pub p_value_plus_one: f64,
}

/// Tests whether the scores of the complement of a circuit are independent of those of the whole model, by a permutation
/// test with the Hilbert–Schmidt independence criterion (Gretton et al. 2005; Shi et al. 2024,
/// <https://arxiv.org/abs/2410.13032>; code blei-lab/circuitry, commit `ec9850b`). A small p-value speaks against
/// independence: the complement still computes something of the task.
///
/// With `K` and `L` the matrices `exp(−(u_i − u_j)² / 2σ²)` of the two scores and `H = 1 − 11ᵀ / n`, the statistic is
/// `tr(HKH · HLH) / (n − 1)²`. σ is the median of all `|full_i − complement_j|`, the lower of the two middle ones, as in
/// that code. Each of the `permutations`, `[permutations, n]`, reorders the scores of the complement;
/// [`random_permutations`] samples some.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are fewer than two scores, if the lengths differ, if a score is not finite, if
/// σ is 0, if there are no permutations, or if one does not contain each of the indices `0..n` once.
pub fn independence(full: &[f64], complement: &[f64], permutations: &[Vec<usize>]) -> Result<Independence, TrainError> {
    check_finite("the scores of the full model", full)?;
    check_finite("the scores of the complement", complement)?;
    check_length("the list of the complement's scores", complement.len(), "the one of the full model", full.len())?;
    let n = full.len();
    TrainError::check(n > 1, "the number of scores", n, "independence needs at least two")?;
    check_permutations(permutations, n)?;
    let sigma = median_distance(full, complement);
    let expected = "the median distance between the two scores must be positive and finite";
    TrainError::check(sigma > 0.0 && sigma.is_finite(), "the width of the kernels", sigma, expected)?;
    let (full, complement) = (centred_kernel(full, sigma), centred_kernel(complement, sigma));
    let scale = ((n - 1) as f64).powi(2);
    let hsic = product(&full, &complement, |index| index) / scale;
    let statistic = |permutation: &Vec<usize>| product(&full, &complement, |index| permutation[index]) / scale;
    let permuted_statistics: Vec<f64> = permutations.iter().map(statistic).collect();
    let limit = hsic - ROUNDING * hsic.abs();
    let at_least = permuted_statistics.iter().filter(|statistic| **statistic >= limit).count();
    Ok(Independence {
        sigma,
        hsic,
        at_least,
        p_value: at_least as f64 / permutations.len() as f64,
        p_value_plus_one: p_value_among(at_least, permutations.len()),
        permuted_statistics,
    })
}

/// `count` uniformly random permutations of `0..n`, `[count, n]`, which depend on `seed`.
pub fn random_permutations(n: usize, count: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut stream = rng::stream(seed, "permutations", 0, 0);
    (0..count).map(|_| rng::permutation(&mut stream, n)).collect()
}

fn check_permutations(permutations: &[Vec<usize>], n: usize) -> Result<(), TrainError> {
    TrainError::check(!permutations.is_empty(), "`permutations`", "empty", "at least one permutation is needed")?;
    let is_permutation = |permutation: &Vec<usize>| {
        let mut seen = vec![false; n];
        let is_new = |index: &usize| seen.get_mut(*index).is_some_and(|seen| !std::mem::replace(seen, true));
        permutation.len() == n && permutation.iter().all(is_new)
    };
    match permutations.iter().position(|permutation| !is_permutation(permutation)) {
        None => Ok(()),
        Some(row) => {
            let expected = format!("each row must contain every index from 0 to {} once", n - 1);
            Err(TrainError::setting("`permutations`", format!("no permutation in row {row}"), expected))
        }
    }
}

/// The lower median of the distances between all values of one list and all of the other.
fn median_distance(left: &[f64], right: &[f64]) -> f64 {
    let mut distances: Vec<f64> =
        left.iter().flat_map(|left| right.iter().map(move |right| (left - right).abs())).collect();
    let middle = (distances.len() - 1) / 2;
    *distances.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// `HKH` for the Gaussian kernel `K` of some values, `[n, n]`, row by row.
fn centred_kernel(values: &[f64], sigma: f64) -> Vec<Vec<f64>> {
    let n = values.len() as f64;
    let kernel = |left: f64, right: f64| (-((left - right) / sigma).powi(2) / 2.0).exp();
    let rows = values.iter().map(|left| values.iter().map(|right| kernel(*left, *right)).collect());
    let mut rows: Vec<Vec<f64>> = rows.collect();
    // The kernel is symmetric, so the means of its columns are those of its rows.
    let means: Vec<f64> = rows.iter().map(|row| row.iter().sum::<f64>() / n).collect();
    let mean = means.iter().sum::<f64>() / n;
    for (row, row_mean) in rows.iter_mut().zip(&means) {
        row.iter_mut().zip(&means).for_each(|(value, column_mean)| *value += mean - row_mean - column_mean);
    }
    rows
}

/// `Σ_ij left_ij · right_π(i)π(j)`, the trace of the product of two symmetric matrices of which one is reordered.
fn product(left: &[Vec<f64>], right: &[Vec<f64>], order: impl Fn(usize) -> usize) -> f64 {
    let row = |(index, left): (usize, &Vec<f64>)| {
        let right = &right[order(index)];
        left.iter().enumerate().map(|(column, value)| value * right[order(column)]).sum::<f64>()
    };
    left.iter().enumerate().map(row).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_scores_worked_out_by_hand() {
        // Distances between {0, 1} and {0, 3}: 0, 3, 1, 2; the lower median is 1. A kernel [[1, a], [a, 1]] centred is
        // (1 − a) / 2 · [[1, −1], [−1, 1]], so the trace is (1 − a)(1 − b).
        let found = independence(&[0.0, 1.0], &[0.0, 3.0], &[vec![0, 1], vec![1, 0]]).unwrap();
        let expected = (1.0 - (-0.5_f64).exp()) * (1.0 - (-4.5_f64).exp());
        assert_eq!(found.sigma, 1.0);
        assert!((found.hsic - expected).abs() < 1e-15, "{} {expected}", found.hsic);
        // Exchanging two scores does not change their distance.
        assert_eq!((found.at_least, found.p_value, found.p_value_plus_one), (2, 1.0, 1.0));
    }

    #[test]
    fn dependence_is_found_and_independence_is_not() {
        let full: Vec<f64> = (0..20).map(|index| f64::from(index) / 10.0).collect();
        let dependent: Vec<f64> = full.iter().map(|value| value * value).collect();
        let permutations = random_permutations(20, 200, 1);
        assert_eq!(permutations, random_permutations(20, 200, 1));
        assert_ne!(permutations, random_permutations(20, 200, 2));
        let found = independence(&full, &dependent, &permutations).unwrap();
        assert_eq!((found.p_value, found.p_value_plus_one), (0.0, 1.0 / 201.0));
        // The scores in an order that has nothing to do with them.
        let unrelated: Vec<f64> = (0..20).map(|index| f64::from((index * 7 + 3) % 20) / 10.0).collect();
        assert!(independence(&full, &unrelated, &permutations).unwrap().p_value > 0.05);
    }

    #[test]
    fn unusable_scores_and_permutations_are_refused() {
        let test = |full: &[f64], complement: &[f64], permutation: &[usize]| {
            independence(full, complement, &[permutation.to_vec()]).map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(test(&[0.0, 1.0], &[0.5, 2.0], &[1, 0]).is_ok());
        assert!(test(&[1.0], &[2.0], &[0]).is_err());
        assert!(test(&[0.0, 1.0], &[0.5], &[1, 0]).is_err());
        assert!(test(&[0.0, f64::NAN], &[0.5, 2.0], &[1, 0]).is_err());
        assert!(test(&[1.0, 1.0], &[1.0, 1.0], &[1, 0]).unwrap_err().contains("must be positive"));
        for permutation in [&[0, 0][..], &[0], &[0, 2], &[0, 1, 1]] {
            assert!(test(&[0.0, 1.0], &[0.5, 2.0], permutation).unwrap_err().contains("row 0"), "{permutation:?}");
        }
        assert!(independence(&[0.0, 1.0], &[0.5, 2.0], &[]).is_err());
    }

    proptest! {
        #[test]
        fn the_statistic_is_symmetric_and_not_negative(
            scores in proptest::collection::vec((-2.0..2.0_f64, -2.0..2.0_f64), 2..10),
        ) {
            let (full, complement): (Vec<f64>, Vec<f64>) = scores.into_iter().unzip();
            let identity = vec![(0..full.len()).collect()];
            let found = independence(&full, &complement, &identity).unwrap();
            let turned = independence(&complement, &full, &identity).unwrap();
            prop_assert!(found.hsic > -1e-15 && (found.hsic - turned.hsic).abs() < 1e-12);
            prop_assert_eq!(found.at_least, 1);
        }
    }
}
