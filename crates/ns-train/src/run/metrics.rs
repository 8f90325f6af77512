//! The numbers of an epoch: a line of `metrics.jsonl`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Numbers of one epoch, by name; `epoch` counts from 1 and `loss` is always there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Training loss.
    pub loss: f64,
    /// Others.
    #[serde(flatten)]
    pub others: BTreeMap<String, f64>,
    /// The line that this was read from: a resumed run writes it back to the letter.
    #[serde(skip)]
    line: Option<String>,
}

impl Metrics {
    /// The loss of an epoch.
    pub fn new(epoch: usize, loss: f64) -> Self {
        Self { epoch, loss, others: BTreeMap::new(), line: None }
    }

    /// Adds a number; one that is not finite is left out, as JSON has none.
    pub fn with(mut self, name: &str, value: f64) -> Self {
        if value.is_finite() {
            self.others.insert(name.into(), value);
        }
        self
    }

    /// A number by name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.others.get(name).copied()
    }

    pub(crate) fn parse(line: &str) -> serde_json::Result<Self> {
        let metrics: Self = serde_json::from_str(line)?;
        Ok(Self { line: Some(line.into()), ..metrics })
    }
}

impl fmt::Display for Metrics {
    /// One JSON object.
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
