//! The figures of runs.

use std::path::Path;

use crate::{
    Metrics, ProbeReport, ProbeRow, TrainError,
    figures::{EpochPoint, ProbeBar, circuit_share, probe_bars, training_curves},
};

/// Draws the loss of a model's training, on both splits.
///
/// # Errors
/// [`TrainError::Figure`].
pub fn draw_training(folder: &Path, title: &str, metrics: &[Metrics]) -> Result<(), TrainError> {
    let points: Vec<_> = metrics.iter().map(epoch_point).collect();
    training_curves(folder, "training", title, &points, None)?;
    Ok(())
}

/// Draws a run's own figures: loss and L0 over the epochs, and the circuit's share of each tensor.
///
/// # Errors
/// [`TrainError::Figure`].
pub fn draw_run(folder: &Path, report: &ProbeReport) -> Result<(), TrainError> {
    let row = &report.row;
    let title = format!("{} in {}, seed {}", row.variable, row.block, row.seed);
    let points: Vec<_> = report.metrics.iter().map(epoch_point).collect();
    training_curves(folder, "training", &title, &points, Some(row.l0_max))?;
    circuit_share(folder, "circuit-share", &title, &report.shares)?;
    Ok(())
}

/// Draws 1-NN accuracies and ablations of some probes side by side.
///
/// # Errors
/// [`TrainError::Figure`].
pub fn draw_probes(folder: &Path, title: &str, rows: &[ProbeRow]) -> Result<(), TrainError> {
    let bar = |row: &ProbeRow| ProbeBar {
        label: label(row, rows),
        knn_test: row.knn_test,
        knn_unmasked: row.knn_unmasked,
        majority: row.majority,
        acc_full: row.acc_full,
        acc_ablated: row.acc_ablated,
        acc_random: row.acc_random_mean.zip(row.acc_random_sd),
    };
    let bars: Vec<_> = rows.iter().map(bar).collect();
    probe_bars(folder, "probes", title, &bars)?;
    Ok(())
}

/// `a² attn`, with what tells it from other rows of the same variable and block.
fn label(row: &ProbeRow, rows: &[ProbeRow]) -> String {
    let same = || rows.iter().filter(|other| (other.variable, &other.block) == (row.variable, &row.block));
    let mut label = format!("{} {}", row.variable, row.block);
    if same().any(|other| other.mask_init_value != row.mask_init_value)
        && let Some(init) = row.mask_init_value
    {
        label += &format!(" (from {init:.1})");
    }
    if same().any(|other| other.seed != row.seed) {
        label += &format!(" seed {}", row.seed);
    }
    label
}

fn epoch_point(metrics: &Metrics) -> EpochPoint {
    EpochPoint {
        epoch: metrics.epoch as f64,
        loss: metrics.loss,
        test_loss: metrics.get("test_loss"),
        l0: metrics.get("l0"),
    }
}
