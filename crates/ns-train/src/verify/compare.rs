//! Comparing a tensor with the one that is expected.

use std::fmt;

use burn::tensor::TensorData;
use serde::Serialize;

/// How far a tensor may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tolerance {
    /// Each element by so much.
    Absolute(f64),
    /// Each element by so much of the expected value.
    Relative(f64),
}

/// Whether errors were taken as they are or in relation to the expected value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ToleranceKind {
    /// `|found − expected|`.
    #[serde(rename = "abs")]
    Absolute,
    /// `|found − expected| / |expected|`.
    #[serde(rename = "rel")]
    Relative,
}

/// One tensor against the one that is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Name of the tensor.
    pub tensor: String,
    /// Largest error of an element; `None` when there is nothing to compare.
    pub error: Option<f64>,
    /// Largest error that is allowed.
    pub tolerance: f64,
    /// What kind of error.
    pub kind: ToleranceKind,
    problem: Option<String>,
}

impl Comparison {
    pub(super) fn new(name: &str, expected: &TensorData, found: Option<&TensorData>, tolerance: Tolerance) -> Self {
        let (kind, tolerance) = match tolerance {
            Tolerance::Absolute(tolerance) => (ToleranceKind::Absolute, tolerance),
            Tolerance::Relative(tolerance) => (ToleranceKind::Relative, tolerance),
        };
        let problem = match found {
            None => Some("expected, but not produced".to_string()),
            Some(found) if found.shape() != expected.shape() => {
                let (found, expected) = (found.shape().to_vec(), expected.shape().to_vec());
                Some(format!("has shape {found:?} where {expected:?} is expected"))
            }
            Some(_) => None,
        };
        let error = match (&problem, found) {
            (None, Some(found)) => Some(largest_error(expected, found, kind)),
            _ => None,
        };
        Self { tensor: name.into(), error: error.filter(|error| error.is_finite()), tolerance, kind, problem }
    }

    /// Error in units of the tolerance; infinite where there is nothing to compare or a number is not finite.
    pub fn ratio(&self) -> f64 {
        match self.error {
            None => f64::INFINITY,
            Some(0.0) => 0.0,
            Some(error) => error / self.tolerance,
        }
    }

    /// Whether the error is within the tolerance.
    pub fn passes(&self) -> bool {
        self.ratio() <= 1.0
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ToleranceKind::Absolute => "abs",
            ToleranceKind::Relative => "rel",
        };
        match (&self.problem, self.error) {
            (Some(problem), _) => write!(f, "{} {problem}", self.tensor),
            (None, None) => write!(f, "{} is not finite", self.tensor),
            (None, Some(error)) => write!(f, "{} {kind} {error:.1e} (tolerance {:.1e})", self.tensor, self.tolerance),
        }
    }
}

/// NaN if any difference is: an expected NaN is no excuse.
fn largest_error(expected: &TensorData, found: &TensorData, kind: ToleranceKind) -> f64 {
    let errors = expected.iter::<f64>().zip(found.iter::<f64>()).map(|(expected, found)| {
        let difference = (found - expected).abs();
        match kind {
            ToleranceKind::Absolute => difference,
            ToleranceKind::Relative if difference == 0.0 => 0.0,
            ToleranceKind::Relative => difference / expected.abs(),
        }
    });
    errors.fold(0.0, |largest, error| if error.is_nan() || largest.is_nan() { f64::NAN } else { error.max(largest) })
}

/// Largest absolute value.
pub(super) fn magnitude(data: &TensorData) -> f64 {
    data.iter::<f64>().fold(0.0, |largest, value| value.abs().max(largest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(expected: &[f32], found: Option<&[f32]>, tolerance: Tolerance) -> Comparison {
        let found = found.map(TensorData::from);
        Comparison::new("t", &TensorData::from(expected), found.as_ref(), tolerance)
    }

    #[test]
    fn errors_are_absolute_or_relative() {
        let absolute = compare(&[1.0, 100.0], Some(&[1.5, 100.0]), Tolerance::Absolute(0.5));
        assert!(absolute.passes() && absolute.error == Some(0.5));
        let relative = compare(&[1.0, 100.0], Some(&[1.0, 101.0]), Tolerance::Relative(1e-3));
        assert!(!relative.passes() && relative.error == Some(0.01));
    }

    #[test]
    fn what_is_missing_misshapen_or_not_finite_fails() {
        let tolerance = Tolerance::Absolute(1e9);
        for found in [None, Some(&[1.0_f32, 2.0][..]), Some(&[f32::NAN][..]), Some(&[f32::INFINITY][..])] {
            let comparison = compare(&[1.0], found, tolerance);
            assert!(!comparison.passes(), "{comparison}");
        }
        assert!(!compare(&[f32::NAN], Some(&[1.0]), tolerance).passes());
    }

    #[test]
    fn zero_tolerance_asks_for_equality() {
        assert!(compare(&[3.0], Some(&[3.0]), Tolerance::Absolute(0.0)).passes());
        assert!(!compare(&[3.0], Some(&[4.0]), Tolerance::Absolute(0.0)).passes());
    }
}
