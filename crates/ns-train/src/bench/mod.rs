//! Timing of training steps, masks and forward passes.

mod mask;
mod probe;

use std::time::Instant;

use burn::tensor::Device;
use ns_models::{AnyModel, Model, ModelInputs};
use serde_json::Value;

use crate::error::TrainError;
use crate::train::initialize;

pub use mask::{MaskBench, MaskTimes};
pub use probe::{ProbeBench, ProbeBenchConfig, time_probe_steps};

/// Times of individual steps.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTimes {
    /// Milliseconds of each timed step, in order.
    pub milliseconds: Vec<f64>,
}

impl StepTimes {
    /// Median in milliseconds; NaN if there are no steps.
    pub fn median(&self) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
        }
    }
}

/// Times plain forward passes of a model with random weights on one batch.
#[derive(Debug)]
pub struct ForwardBench {
    model: AnyModel,
    inputs: ModelInputs,
    device: Device,
}

impl ForwardBench {
    /// Creates the model that `config`, a `config.json`, describes. `inputs` must be on `device`.
    ///
    /// # Errors
    /// Returns [`ns_models::ModelError`] if the configuration is invalid or unsupported.
    pub fn new(config: &Value, inputs: ModelInputs, device: &Device) -> Result<Self, TrainError> {
        Ok(Self { model: initialize(AnyModel::init(config, device)?, 0), inputs, device: device.clone() })
    }

    /// Runs one forward pass and returns its time in milliseconds.
    ///
    /// # Errors
    /// Returns [`ns_models::ModelError::InvalidInput`] if the batch does not fit the model.
    ///
    /// # Panics
    /// Panics if the device fails during the forward pass, e.g. if it runs out of memory.
    pub fn time(&self) -> Result<f64, TrainError> {
        let start = Instant::now();
        let output = self.model.logits(&self.inputs)?;
        self.device.sync().unwrap_or_else(|error| panic!("the device failed during a forward pass: {error}"));
        let elapsed = start.elapsed();
        drop(output);
        Ok(elapsed.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_even_and_odd_counts() {
        let times = |milliseconds: &[f64]| StepTimes { milliseconds: milliseconds.into() };
        assert_eq!(times(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(times(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(times(&[]).median().is_nan());
    }
}
