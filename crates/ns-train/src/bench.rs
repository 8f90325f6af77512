//! Timing of training steps.

use std::time::Instant;

use burn::tensor::Device;

use crate::{ProbeRecipe, ProbeTraining, TrainError};

/// Times of single steps.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTimes {
    /// Milliseconds of each timed step, in order.
    pub milliseconds: Vec<f64>,
}

impl StepTimes {
    /// Median in milliseconds; NaN without a step.
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

/// Trains a probe for `warmup + steps` steps and times the last `steps` of them: batch, forward, loss, backward and
/// optimiser.
///
/// # Errors
/// As [`ProbeTraining::new`] and [`ProbeTraining::step`].
pub fn time_probe_steps(
    recipe: &ProbeRecipe,
    steps: usize,
    warmup: usize,
    device: &Device,
) -> Result<StepTimes, TrainError> {
    let mut training = ProbeTraining::new(recipe, 0, device)?;
    let per_epoch = training.steps_per_epoch();
    let mut milliseconds = Vec::with_capacity(steps);
    let mut batches = Vec::new();
    for step in 0..warmup + steps {
        let (epoch, place) = (step / per_epoch, step % per_epoch);
        if place == 0 {
            batches = training.batches(epoch);
        }
        let start = Instant::now();
        training.step(epoch, place, &batches[place])?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds.drain(..warmup);
    Ok(StepTimes { milliseconds })
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
