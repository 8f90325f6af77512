//! Expected numbers in `case.json`, as tensors.

use burn::tensor::TensorData;
use serde_json::{Map, Value};

use super::{TensorComparison, Tensors, ToleranceKind::Absolute, invalid};
use crate::error::TrainError;

/// Largest error of a number in `case.json`, which has full precision.
const TOLERANCE: f64 = 1e-9;

/// Keys that say how exact the data are. They are no expected results.
const REMARKS: [&str; 6] = [
    "f32_error",
    "max_abs_gradient",
    "notes",
    "smallest_hessian_eigenvalue",
    "smallest_margin",
    "smallest_relative_gap",
];

/// Reads numbers, booleans and lists of them as tensors: a number has shape `[1]`, a list of n `[n]`. Integers and booleans
/// become integers. The entries of an object have the name of the object before their own, with a dot between them. Remarks on the data are left out.
pub(super) fn scalars(name: &str, json: &Value) -> Result<Tensors, TrainError> {
    match json {
        Value::Object(entries) => entries_of(name, entries),
        Value::Array(values) => Ok(Tensors::from([(name.into(), numbers(name, values)?)])),
        value => Ok(Tensors::from([(name.into(), numbers(name, std::slice::from_ref(value))?)])),
    }
}

fn entries_of(name: &str, entries: &Map<String, Value>) -> Result<Tensors, TrainError> {
    let mut tensors = Tensors::new();
    for (key, value) in entries.iter().filter(|(key, _)| !REMARKS.contains(&key.as_str())) {
        tensors.extend(scalars(&format!("{name}.{key}"), value)?);
    }
    Ok(tensors)
}

fn numbers(name: &str, values: &[Value]) -> Result<TensorData, TrainError> {
    let integer = |value: &Value| value.as_i64().or(value.as_bool().map(i64::from));
    if let Some(integers) = values.iter().map(integer).collect::<Option<Vec<i64>>>() {
        return Ok(TensorData::new(integers, [values.len()]));
    }
    let floats = values.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>();
    let floats = floats.ok_or_else(|| {
        let found = format!("`{name}` with a value that is no number");
        invalid("case.json", found, "expected values are numbers, booleans or lists of them")
    })?;
    Ok(TensorData::new(floats, [values.len()]))
}

/// Compares expected numbers with produced ones. Integers and booleans must be equal.
pub(super) fn compare_scalars(expected: &Tensors, produced: &Tensors) -> Vec<TensorComparison> {
    super::compare_all(expected, produced, |_, data| match data.dtype().is_float() {
        true => (Absolute, TOLERANCE),
        false => (Absolute, 0.0),
    })
}

/// A tensor of shape `[1]`.
pub(super) fn number(value: f64) -> TensorData {
    TensorData::from([value])
}

/// A tensor of shape `[1]`.
pub(super) fn count(value: usize) -> TensorData {
    counts(&[value])
}

/// A tensor of shape `[n]`.
pub(super) fn counts(values: &[usize]) -> TensorData {
    TensorData::new(values.iter().map(|value| *value as i64).collect::<Vec<i64>>(), [values.len()])
}

/// A tensor of shape `[n]`.
pub(super) fn flags(values: &[bool]) -> TensorData {
    TensorData::new(values.iter().map(|value| i64::from(*value)).collect::<Vec<i64>>(), [values.len()])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_have_the_path_of_their_key() {
        let found =
            scalars("expected", &json!({"a": {"p": 0.5, "n": 3}, "b": [true, false], "c": [1, 0.5], "notes": "text"}))
                .unwrap();
        let expected = [
            ("expected.a.n", count(3)),
            ("expected.a.p", number(0.5)),
            ("expected.b", flags(&[true, false])),
            ("expected.c", TensorData::from([1.0, 0.5])),
        ];
        assert_eq!(found, expected.map(|(name, data)| (name.to_string(), data)).into());
        assert!(scalars("expected", &json!({"a": "text"})).unwrap_err().to_string().contains("expected.a"));
    }

    #[test]
    fn integers_must_be_equal_and_floats_near() {
        let expected = scalars("e", &json!({"n": 3, "p": 0.5})).unwrap();
        let compare = |n, p| {
            let produced = Tensors::from([("e.n".into(), count(n)), ("e.p".into(), number(p))]);
            compare_scalars(&expected, &produced).iter().map(TensorComparison::passes).collect::<Vec<bool>>()
        };
        assert_eq!(compare(3, 0.5 + 1e-10), [true, true]);
        assert_eq!(compare(4, 0.5 + 1e-8), [false, false]);
    }
}
