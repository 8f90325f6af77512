//! The metrics of one epoch: a line of `metrics.jsonl`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Metrics of one epoch. Serialised as one flat JSON object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Training loss.
    pub loss: f64,
    /// Other metrics by name, e.g. `l0` or `test_accuracy`.
    #[serde(flatten)]
    pub others: BTreeMap<String, f64>,
    /// The line that these metrics were parsed from. A resumed run writes it back unchanged.
    #[serde(skip)]
    line: Option<String>,
}

impl Metrics {
    /// Creates the metrics of an epoch, with the loss alone.
    pub fn new(epoch: usize, loss: f64) -> Self {
        Self { epoch, loss, others: BTreeMap::new(), line: None }
    }

    /// Adds a metric. NaN and infinite values are left out because JSON cannot represent them.
    pub fn with(mut self, name: &str, value: f64) -> Self {
        if value.is_finite() {
            self.others.insert(name.into(), value);
        }
        self
    }

    /// Returns one of the other metrics by name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.others.get(name).copied()
    }

    pub(crate) fn parse(line: &str) -> serde_json::Result<Self> {
        let metrics: Self = serde_json::from_str(line)?;
        Ok(Self { line: Some(line.into()), ..metrics })
    }
}

impl fmt::Display for Metrics {
    /// Formats the metrics as one JSON object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some(line) => f.write_str(line),
            None => f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_do_not_break_the_file() {
        let metrics = Metrics::new(1, 0.5).with("accuracy", 1.0).with("test_loss", f64::NAN);
        assert_eq!(metrics.to_string(), r#"{"epoch":1,"loss":0.5,"accuracy":1.0}"#);
        assert_eq!(Metrics::parse(&metrics.to_string()).unwrap().get("accuracy"), Some(1.0));
    }
}
