//! How much of a model's behaviour circuits of growing size keep, and the areas under that curve.

use super::checks::{check_finite, check_length};
use crate::error::TrainError;

/// Areas and the mean of a faithfulness curve `f(p)`, where `p` is the share of the units that a circuit keeps.
///
/// They are those of the Mechanistic Interpretability Benchmark (Mueller et al. 2025,
/// <https://arxiv.org/abs/2504.13151>; `evaluate_area_under_curve` in `MIB_circuit_track/evaluation.py`, commit
/// `b759df3`). Areas are sums of trapezoids between neighbouring shares. Nothing lies to the left of the first share, so a
/// perfect curve at [`MIB_SHARES`](super::MIB_SHARES) has a CPR of 0.999.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaithfulnessAreas {
    /// Integrated circuit performance ratio: the area under `f`. Higher is better.
    pub cpr: f64,
    /// Integrated circuit–model distance: the area under `|1 − f|`. Lower is better, 0 is best.
    pub cmd: f64,
    /// Mean of `f` over the shares.
    pub average: f64,
    /// The area under `f` over `ln p` instead of `p`.
    pub cpr_log: f64,
    /// The area under `|1 − f|` over `ln p` instead of `p`.
    pub cmd_log: f64,
    /// Like `cpr`, with the additional point `f(0) = 0`. Not part of the benchmark.
    pub cpr_from_zero: f64,
    /// Like `cmd`, with the additional point `f(0) = 0`. Not part of the benchmark.
    pub cmd_from_zero: f64,
}

impl FaithfulnessAreas {
    /// Computes the areas under `faithfulness`, with one value for each of the `shares`, which rise from above 0 to at most
    /// 1.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if there are no values, if the lengths differ, if a value is not finite, or if the
    /// shares do not rise or are not in `(0, 1]`.
    pub fn new(shares: &[f64], faithfulness: &[f64]) -> Result<Self, TrainError> {
        check_finite("`shares`", shares)?;
        check_finite("`faithfulness`", faithfulness)?;
        check_length("`faithfulness`", faithfulness.len(), "`shares`", shares.len())?;
        let rises = shares.windows(2).all(|pair| pair[0] < pair[1]);
        let in_range = shares.iter().all(|share| *share > 0.0 && *share <= 1.0);
        TrainError::check(
            rises && in_range,
            "`shares`",
            format!("{shares:?}"),
            "it must rise from above 0 to at most 1",
        )?;
        let distances: Vec<f64> = faithfulness.iter().map(|value| (1.0 - value).abs()).collect();
        let logarithms: Vec<f64> = shares.iter().map(|share| share.ln()).collect();
        let [cpr, cmd] = [faithfulness, &distances].map(|values| area(shares, values));
        Ok(Self {
            cpr,
            cmd,
            average: faithfulness.iter().sum::<f64>() / faithfulness.len() as f64,
            cpr_log: area(&logarithms, faithfulness),
            cmd_log: area(&logarithms, &distances),
            cpr_from_zero: cpr + shares[0] * faithfulness[0] / 2.0,
            cmd_from_zero: cmd + shares[0] * (1.0 + distances[0]) / 2.0,
        })
    }
}

/// The area under a curve by the trapezoidal rule.
fn area(positions: &[f64], values: &[f64]) -> f64 {
    let trapezoids = positions.windows(2).zip(values.windows(2)).map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0);
    trapezoids.sum()
}

/// Faithfulness of circuits: `(metric − empty) / (full − empty)`, where `full` is the metric of the whole model and `empty`
/// that of the model without any unit. It is not clipped: it exceeds 1 for a circuit that does better than the model.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no metrics, if a metric is not finite, or if `full` equals `empty`.
pub fn faithfulness(metric: &[f64], full: f64, empty: f64) -> Result<Vec<f64>, TrainError> {
    check_finite("`metric`", metric)?;
    check_finite("the metric of the full and of the empty circuit", &[full, empty])?;
    let expected = "faithfulness is relative to their difference, which must not be 0";
    let range = full - empty;
    TrainError::check(range != 0.0, "the metric of the full and of the empty circuit", full, expected)?;
    Ok(metric.iter().map(|metric| (metric - empty) / range).collect())
}

/// The smallest of the `sizes` whose circuit has a faithfulness of at least `share`; `None` if no circuit has. The curve
/// need not rise: a larger circuit may be below `share` again.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are no values, if the lengths differ, or if a value is not finite.
pub fn smallest_size(sizes: &[usize], faithfulness: &[f64], share: f64) -> Result<Option<usize>, TrainError> {
    check_finite("`faithfulness`", faithfulness)?;
    check_finite("the share of faithfulness to keep", &[share])?;
    check_length("`faithfulness`", faithfulness.len(), "`sizes`", sizes.len())?;
    let sufficient = sizes.iter().zip(faithfulness).filter(|(_, value)| **value >= share);
    Ok(sufficient.map(|(size, _)| *size).min())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::statistics::MIB_SHARES;

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, but {expected} was expected");
    }

    #[test]
    fn a_perfect_curve_lacks_the_part_before_the_first_share() {
        let areas = FaithfulnessAreas::new(&MIB_SHARES, &[1.0; 10]).unwrap();
        assert_near(areas.cpr, 0.999);
        assert_near(areas.cmd, 0.0);
        assert_near(areas.average, 1.0);
        assert_near(areas.cpr_log, 1000_f64.ln());
        assert_near(areas.cpr_from_zero, 0.9995);
        assert_near(areas.cmd_from_zero, 0.0005);
    }

    #[test]
    fn areas_are_sums_of_trapezoids() {
        // f = −1, 2, 1 at p = 0.25, 0.5, 1; |1 − f| = 2, 1, 0.
        let areas = FaithfulnessAreas::new(&[0.25, 0.5, 1.0], &[-1.0, 2.0, 1.0]).unwrap();
        assert_near(areas.cpr, 0.25 * 0.5 + 0.5 * 1.5);
        assert_near(areas.cmd, 0.25 * 1.5 + 0.5 * 0.5);
        assert_near(areas.average, 2.0 / 3.0);
        let ln_2 = std::f64::consts::LN_2;
        assert_near(areas.cpr_log, ln_2 * (0.5 + 1.5));
        assert_near(areas.cmd_log, ln_2 * (1.5 + 0.5));
        assert_near(areas.cpr_from_zero, areas.cpr - 0.25 * 0.5);
        assert_near(areas.cmd_from_zero, areas.cmd + 0.25 * 1.5);
    }

    #[test]
    fn unusable_curves_are_refused() {
        for (shares, values) in [
            (&[][..], &[][..]),
            (&[0.5], &[1.0, 1.0]),
            (&[0.0, 1.0], &[0.0, 1.0]),
            (&[0.5, 0.5], &[0.0, 1.0]),
            (&[0.5, 1.5], &[0.0, 1.0]),
            (&[0.5, 1.0], &[0.0, f64::NAN]),
        ] {
            assert!(FaithfulnessAreas::new(shares, values).is_err(), "{shares:?} {values:?}");
        }
        assert_eq!(faithfulness(&[1.0, 2.0, 5.0], 3.0, 1.0).unwrap(), [0.0, 0.5, 2.0]);
        let constant = faithfulness(&[1.0], 3.0, 3.0).unwrap_err().to_string();
        assert!(constant.contains("must not be 0"), "{constant}");
        assert!(faithfulness(&[f64::NAN], 3.0, 1.0).is_err() && faithfulness(&[1.0], f64::INFINITY, 1.0).is_err());
    }

    #[test]
    fn the_smallest_circuit_reaches_the_share() {
        let (sizes, values) = ([0, 2, 4, 8], [0.0, 0.9, 0.5, 1.0]);
        assert_eq!(smallest_size(&sizes, &values, 0.9).unwrap(), Some(2));
        assert_eq!(smallest_size(&sizes, &values, 0.95).unwrap(), Some(8));
        assert_eq!(smallest_size(&sizes, &values, 1.1).unwrap(), None);
        assert!(smallest_size(&sizes, &values[..3], 0.9).is_err() && smallest_size(&[], &[], 0.9).is_err());
        assert!(smallest_size(&sizes, &values, f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn a_larger_share_needs_no_smaller_circuit(
            values in proptest::collection::vec(-1.0..2.0_f64, 1..12),
            shares in (-1.0..2.0_f64, -1.0..2.0_f64),
        ) {
            let sizes: Vec<usize> = (0..values.len()).collect();
            let size = |share| smallest_size(&sizes, &values, share).unwrap().unwrap_or(usize::MAX);
            prop_assert!(size(shares.0.min(shares.1)) <= size(shares.0.max(shares.1)));
        }

        #[test]
        fn curves_below_one_share_the_area(values in proptest::collection::vec(0.0..1.0_f64, 10)) {
            let areas = FaithfulnessAreas::new(&MIB_SHARES, &values).unwrap();
            prop_assert!((areas.cpr + areas.cmd - 0.999).abs() < 1e-12);
            prop_assert!((areas.cpr_from_zero + areas.cmd_from_zero - 1.0).abs() < 1e-12);
        }
    }
}
