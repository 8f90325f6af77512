//! Checks of settings that all recipes share.

use crate::error::TrainError;

/// The common settings of a recipe.
pub(super) struct CommonSettings<'a> {
    /// Number of training examples.
    pub(super) examples: usize,
    pub(super) batch_size: usize,
    pub(super) epochs: usize,
    pub(super) final_temperature: f64,
    pub(super) l0_lambdas: &'a [f64],
}

impl CommonSettings<'_> {
    /// # Errors
    /// Returns [`TrainError::Setting`] for the first setting that cannot work.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let examples = self.examples;
        if self.batch_size == 0 || self.batch_size > examples {
            let expected = format!("there are {examples} training examples; it must be between 1 and {examples}");
            return invalid("batch_size", self.batch_size, expected);
        }
        if self.epochs == 0 {
            return invalid("epochs", 0, "it must be at least 1");
        }
        if !(self.final_temperature.is_finite() && self.final_temperature > 0.0) {
            return invalid("final_temperature", self.final_temperature, "it must be positive and finite");
        }
        match self.l0_lambdas.iter().find(|lambda| !(lambda.is_finite() && **lambda >= 0.0)) {
            Some(lambda) => invalid("l0_lambdas", lambda, "each factor must be finite and at least 0"),
            None => Ok(()),
        }
    }
}

/// A [`TrainError::Setting`].
pub(super) fn invalid<T>(
    setting: &'static str,
    found: impl ToString,
    expected: impl Into<String>,
) -> Result<T, TrainError> {
    Err(TrainError::Setting { setting, found: found.to_string(), expected: expected.into() })
}
