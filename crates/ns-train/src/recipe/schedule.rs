//! The training settings that all recipes share.

use super::OptimizerRecipe;
use crate::error::TrainError;

/// The largest number of epochs.
const MAX_EPOCHS: usize = 1_000_000_000;

/// The largest number of random controls.
const MAX_CONTROLS: usize = 1_000_000;

/// How long, in which steps and with which optimiser a [`Trainer`](crate::Trainer) trains.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Number of passes over the training examples, at most 1,000,000,000.
    pub epochs: usize,
    /// Number of epochs between evaluations on the test split.
    pub evaluate_every: usize,
    /// Number of epochs between checkpoints.
    pub checkpoint_every: usize,
    /// Number of examples per step. A batch of all training examples is in the order of the split.
    pub batch_size: usize,
    /// Whether a smaller last batch is left out.
    pub drop_last: bool,
    /// Number of examples per forward pass. The gradients of a step add up. `None` for one forward pass per step.
    pub micro_batch: Option<usize>,
    /// Temperature after the last epoch. It starts at 1 and is multiplied by a constant factor after each epoch.
    pub final_temperature: f64,
    /// The optimiser.
    pub optimizer: OptimizerRecipe,
}

impl Schedule {
    /// Checks the settings for a number of training examples.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for the first setting that cannot work.
    pub fn check(&self, examples: usize) -> Result<(), TrainError> {
        TrainError::check(examples > 0, "the number of training examples", examples, "it must be at least 1")?;
        let expected = format!("there are {examples} training examples; it must be between 1 and {examples}");
        TrainError::check((1..=examples).contains(&self.batch_size), "batch_size", self.batch_size, expected)?;
        let expected = format!("it must be between 1 and {MAX_EPOCHS}");
        TrainError::check((1..=MAX_EPOCHS).contains(&self.epochs), "epochs", self.epochs, expected)?;
        let micro_batch = self.micro_batch.unwrap_or(examples);
        for (name, value) in [
            ("evaluate_every", self.evaluate_every),
            ("checkpoint_every", self.checkpoint_every),
            ("micro_batch", micro_batch),
        ] {
            TrainError::check(value > 0, name, value, "it must be at least 1")?;
        }
        let holds = self.final_temperature.is_finite() && self.final_temperature > 0.0;
        TrainError::check(holds, "final_temperature", self.final_temperature, "it must be positive and finite")
    }

    /// Temperature of the masks in an epoch, counted from 0.
    pub fn temperature_at(&self, epoch: usize) -> f32 {
        self.final_temperature.powf(epoch as f64 / self.epochs as f64) as f32
    }

    /// Whether the test split is evaluated after an epoch, counted from 0.
    pub fn evaluates_after(&self, epoch: usize) -> bool {
        (epoch + 1).is_multiple_of(self.evaluate_every) || epoch + 1 == self.epochs
    }
}

/// Checks the number of random controls of an ablation study.
pub(crate) fn check_controls(controls: usize) -> Result<(), TrainError> {
    let expected = format!("it must be at most {MAX_CONTROLS}");
    TrainError::check(controls <= MAX_CONTROLS, "controls", controls, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        Schedule {
            epochs: 2,
            evaluate_every: 1,
            checkpoint_every: 1,
            batch_size: 6,
            drop_last: true,
            micro_batch: None,
            final_temperature: 100.0,
            optimizer: OptimizerRecipe::default(),
        }
    }

    #[test]
    fn temperature_grows_by_the_same_factor_after_each_epoch() {
        assert_eq!([0, 1, 2].map(|epoch| schedule().temperature_at(epoch)), [1.0, 10.0, 100.0]);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        schedule().check(6).unwrap();
        let settings = [
            (Schedule { batch_size: 0, ..schedule() }, "batch_size"),
            (Schedule { batch_size: 7, ..schedule() }, "batch_size"),
            (Schedule { epochs: 0, ..schedule() }, "epochs"),
            (Schedule { epochs: usize::MAX, ..schedule() }, "epochs"),
            (Schedule { evaluate_every: 0, ..schedule() }, "evaluate_every"),
            (Schedule { checkpoint_every: 0, ..schedule() }, "checkpoint_every"),
            (Schedule { micro_batch: Some(0), ..schedule() }, "micro_batch"),
            (Schedule { final_temperature: f64::NAN, ..schedule() }, "final_temperature"),
        ];
        for (schedule, name) in settings {
            let error = schedule.check(6).unwrap_err();
            assert!(matches!(&error, TrainError::Setting { setting, .. } if *setting == name), "{error}");
        }
        assert!(schedule().check(0).unwrap_err().to_string().contains("the number of training examples is 0"));
        assert!(check_controls(1_000_000).is_ok() && check_controls(1_000_001).is_err());
    }
}
