//! Checks of the inputs of a statistic.

use crate::error::TrainError;

/// Returns an error for an empty list and for a value that is NaN or infinite.
pub(super) fn check_finite(name: &'static str, values: &[f64]) -> Result<(), TrainError> {
    check_not_empty(name, values)?;
    check_each(name, values, |value| value.is_finite(), "all values must be finite")
}

/// Returns an error for an empty list and for NaN. Infinite values have a rank, so they are accepted.
pub(super) fn check_comparable(name: &'static str, values: &[f64]) -> Result<(), TrainError> {
    check_not_empty(name, values)?;
    check_each(name, values, |value| !value.is_nan(), "NaN cannot be compared")
}

/// Returns an error unless a list has the length `expected`, which is that of `other`.
pub(super) fn check_length(name: &'static str, found: usize, other: &str, expected: usize) -> Result<(), TrainError> {
    let (found_text, expected_text) = (format!("of length {found}"), format!("{other} has length {expected}"));
    TrainError::check(found == expected, name, found_text, expected_text)
}

/// Returns an error if a number exceeds `largest`.
pub(super) fn check_not_more(name: &'static str, found: usize, largest: usize) -> Result<(), TrainError> {
    TrainError::check(found <= largest, name, found, format!("there are {largest}"))
}

/// Returns an error unless a probability is in `[0, 1]`.
pub(super) fn check_probability(name: &'static str, value: f64) -> Result<(), TrainError> {
    TrainError::check((0.0..=1.0).contains(&value), name, value, "it must be between 0 and 1")
}

fn check_not_empty(name: &'static str, values: &[f64]) -> Result<(), TrainError> {
    TrainError::check(!values.is_empty(), name, "empty", "at least one value is needed")
}

fn check_each(
    name: &'static str,
    values: &[f64],
    holds: impl Fn(f64) -> bool,
    expected: &'static str,
) -> Result<(), TrainError> {
    match values.iter().position(|value| !holds(*value)) {
        None => Ok(()),
        Some(index) => Err(TrainError::setting(name, format!("{} at index {index}", values[index]), expected)),
    }
}
