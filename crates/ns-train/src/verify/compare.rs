//! Comparison of a tensor with the expected tensor.

use std::fmt;

use burn::tensor::TensorData;
use serde::Serialize;

/// Whether an error is absolute or relative to the expected value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
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
    /// Largest error of an element. `Err` says that the tensor is missing, has another shape, or has a difference that is
    /// not finite.
    pub error: Result<f64, String>,
    /// Largest allowed error.
    pub tolerance: f64,
    /// Whether error and tolerance are absolute or relative.
    pub kind: ToleranceKind,
}

impl TensorComparison {
    /// Compares a tensor with the expected one. `tolerance` is the largest allowed error of each element.
    pub(super) fn new(
        name: &str,
        expected: &TensorData,
        found: Option<&TensorData>,
        (kind, tolerance): (ToleranceKind, f64),
    ) -> Self {
        let error = match found {
            None => Err("expected, but not produced".to_string()),
            Some(found) if found.shape() != expected.shape() => {
                let (found, expected) = (found.shape().to_vec(), expected.shape().to_vec());
                Err(format!("has shape {found:?}, but the expected shape is {expected:?}"))
            }
            Some(found) => match largest_error(expected, found, kind) {
                error if error.is_finite() => Ok(error),
                _ => Err("is not finite".to_string()),
            },
        };
        Self { tensor: name.into(), error, tolerance, kind }
    }

    /// Error divided by the tolerance; infinite if [`error`](Self::error) is `Err`.
    pub fn ratio(&self) -> f64 {
        match self.error {
            Err(_) => f64::INFINITY,
            Ok(0.0) => 0.0,
            Ok(error) => error / self.tolerance,
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
        match &self.error {
            Ok(error) => write!(f, "{} {kind} {error:.1e} (tolerance {:.1e})", self.tensor, self.tolerance),
            Err(problem) => write!(f, "{} {problem}", self.tensor),
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

    fn compare(expected: &[f32], found: Option<&[f32]>, tolerance: (ToleranceKind, f64)) -> TensorComparison {
        let found = found.map(TensorData::from);
        TensorComparison::new("t", &TensorData::from(expected), found.as_ref(), tolerance)
    }

    #[test]
    fn errors_are_absolute_or_relative() {
        let absolute = compare(&[1.0, 100.0], Some(&[1.5, 100.0]), (ToleranceKind::Absolute, 0.5));
        assert!(absolute.passes() && absolute.error == Ok(0.5));
        let relative = compare(&[1.0, 100.0], Some(&[1.0, 101.0]), (ToleranceKind::Relative, 1e-3));
        assert!(!relative.passes() && relative.error == Ok(0.01));
    }

    #[test]
    fn missing_misshapen_or_not_finite_tensors_fail() {
        let tolerance = (ToleranceKind::Absolute, 1e9);
        for found in [None, Some(&[1.0_f32, 2.0][..]), Some(&[f32::NAN][..]), Some(&[f32::INFINITY][..])] {
            let comparison = compare(&[1.0], found, tolerance);
            assert!(!comparison.passes(), "{comparison}");
        }
        assert!(!compare(&[f32::NAN], Some(&[1.0]), tolerance).passes());
    }

    #[test]
    fn zero_tolerance_requires_equality() {
        assert!(compare(&[3.0], Some(&[3.0]), (ToleranceKind::Absolute, 0.0)).passes());
        assert!(!compare(&[3.0], Some(&[4.0]), (ToleranceKind::Absolute, 0.0)).passes());
    }
}
