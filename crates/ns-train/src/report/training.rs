//! The training curves of a run.

use std::path::Path;

use super::figures::{EpochPoint, training_curves};
use crate::error::TrainError;
use crate::run::Metrics;

/// Draws the loss per epoch to `training.svg` and `training.png` in `folder`.
///
/// The figure shows the training loss and, if the metrics have it, the test loss. If the metrics have an L0, a second
/// panel shows it.
///
/// # Errors
/// Returns [`TrainError::Figure`] if the figure cannot be drawn or written.
pub fn draw_training(folder: &Path, title: &str, metrics: &[Metrics]) -> Result<(), TrainError> {
    let points: Vec<_> = metrics.iter().map(epoch_point).collect();
    training_curves(folder, "training", title, &points, None)?;
    Ok(())
}

/// The values of one epoch that the training figure shows.
pub(super) fn epoch_point(metrics: &Metrics) -> EpochPoint {
    EpochPoint {
        epoch: metrics.epoch as f64,
        loss: metrics.loss,
        test_loss: metrics.get("test_loss"),
        l0: metrics.get("l0"),
    }
}
