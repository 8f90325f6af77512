//! Comparison of a tensor with the expected tensor.

use std::fmt;

use burn::tensor::TensorData;
use serde::Serialize;

/// Largest allowed error of each element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tolerance {
    /// Limit of the absolute error.
    Absolute(f64),
    /// Limit of the error relative to the expected value.
    Relative(f64),
}

/// Whether an error is absolute or relative to the expected value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ToleranceKind {
    /// `|found − expected|`.
    #[serde(rename = "abs")]
    Absolute,
    /// `|found − expected| / |expected|`.
    #[serde(rename = "rel")]
    Relative,
}

/// Result of comparing a tensor with the expected tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorComparison {
    /// Name of the tensor.
    pub tensor: String,
    /// Largest error of an element; `None` if the tensor is missing, has another shape, or has a difference that is not
    /// finite.
    pub error: Option<f64>,
    /// Largest allowed error.
    pub tolerance: f64,
    /// Whether error and tolerance are absolute or relative.
    pub kind: ToleranceKind,
    /// Why the elements could not be compared.
    problem: Option<String>,
}

impl TensorComparison {
    pub(super) fn new(name: &str, expected: &TensorData, found: Option<&TensorData>, tolerance: Tolerance) -> Self {
        let (kind, tolerance) = match tolerance {
            Tolerance::Absolute(tolerance) => (ToleranceKind::Absolute, tolerance),
            Tolerance::Relative(tolerance) => (ToleranceKind::Relative, tolerance),
        };
        let problem = match found {
            None => Some("expected, but not produced".to_string()),
            Some(found) if found.shape() != expected.shape() => {
                let (found, expected) = (found.shape().to_vec(), expected.shape().to_vec());
                Some(format!("has shape {found:?}, but the expected shape is {expected:?}"))
            }
            Some(_) => None,
        };
        let error = match (&problem, found) {
            (None, Some(found)) => Some(largest_error(expected, found, kind)),
            _ => None,
        };
        Self { tensor: name.into(), error: error.filter(|error| error.is_finite()), tolerance, kind, problem }
    }

    /// Error divided by the tolerance; infinite if [`error`](Self::error) is `None`.
    pub fn ratio(&self) -> f64 {
        match self.error {
            None => f64::INFINITY,
            Some(0.0) => 0.0,
            Some(error) => error / self.tolerance,
        }
    }

    /// Returns whether the error is within the tolerance.
    pub fn passes(&self) -> bool {
        self.ratio() <= 1.0
    }
}

impl fmt::Display for TensorComparison {
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

/// Largest error over all elements; NaN if any difference is NaN, even where NaN is expected.
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

    fn compare(expected: &[f32], found: Option<&[f32]>, tolerance: Tolerance) -> TensorComparison {
        let found = found.map(TensorData::from);
        TensorComparison::new("t", &TensorData::from(expected), found.as_ref(), tolerance)
    }

    #[test]
    fn errors_are_absolute_or_relative() {
        let absolute = compare(&[1.0, 100.0], Some(&[1.5, 100.0]), Tolerance::Absolute(0.5));
        assert!(absolute.passes() && absolute.error == Some(0.5));
        let relative = compare(&[1.0, 100.0], Some(&[1.0, 101.0]), Tolerance::Relative(1e-3));
        assert!(!relative.passes() && relative.error == Some(0.01));
    }

    #[test]
    fn missing_misshapen_or_not_finite_tensors_fail() {
        let tolerance = Tolerance::Absolute(1e9);
        for found in [None, Some(&[1.0_f32, 2.0][..]), Some(&[f32::NAN][..]), Some(&[f32::INFINITY][..])] {
            let comparison = compare(&[1.0], found, tolerance);
            assert!(!comparison.passes(), "{comparison}");
        }
        assert!(!compare(&[f32::NAN], Some(&[1.0]), tolerance).passes());
    }

    #[test]
    fn zero_tolerance_requires_equality() {
        assert!(compare(&[3.0], Some(&[3.0]), Tolerance::Absolute(0.0)).passes());
        assert!(!compare(&[3.0], Some(&[4.0]), Tolerance::Absolute(0.0)).passes());
    }
}
