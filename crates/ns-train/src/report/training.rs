//! The training curve of a run.

use std::path::Path;

use super::figures::{EpochPoint, training_curves};
use crate::error::TrainError;
use crate::run::Metrics;

/// Draws the loss of a model's training, on both splits.
///
/// # Errors
/// [`TrainError::Figure`].
pub fn draw_training(folder: &Path, title: &str, metrics: &[Metrics]) -> Result<(), TrainError> {
    let points: Vec<_> = metrics.iter().map(epoch_point).collect();
    training_curves(folder, "training", title, &points, None)?;
    Ok(())
}

pub(super) fn epoch_point(metrics: &Metrics) -> EpochPoint {
    EpochPoint {
        epoch: metrics.epoch as f64,
        loss: metrics.loss,
        test_loss: metrics.get("test_loss"),
        l0: metrics.get("l0"),
    }
}
