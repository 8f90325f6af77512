//! Table, `results.json` and figures of circuit probes.

use std::path::Path;

use super::figures::{ProbeBar, probe_bars};
use super::results::write_rows;
use super::rows::draw_run;
use super::table::{Column, mean_sd, or_na, share, size, table_of};
use crate::error::TrainError;
use crate::evaluate::ProbeRow;
use crate::train::ProbeReport;

/// Writes `results.json` and all figures of a finished circuit probe into `folder`.
///
/// # Errors
/// Returns [`TrainError::Io`] if `results.json` cannot be written and [`TrainError::Figure`] if a figure cannot be
/// drawn or written.
pub fn write_probe(folder: impl AsRef<Path>, report: &ProbeReport) -> Result<(), TrainError> {
    let folder = folder.as_ref();
    let rows = std::slice::from_ref(&report.row);
    write_rows(folder, rows)?;
    let row = &report.row;
    let title = format!("{} in {}, seed {}", row.variable, row.block, row.seed);
    draw_run(folder, &title, &report.metrics, &report.l0.layers)?;
    draw_probes(folder, "Circuit probe", rows)
}

/// Returns a Markdown table with one line per probe.
pub fn probe_table(rows: &[ProbeRow]) -> String {
    const COLUMNS: [Column<ProbeRow>; 13] = [
        ("variable", |row| row.variable.to_string()),
        ("block", |row| row.block.clone()),
        ("seed", |row| row.seed.to_string()),
        ("1-NN test", |row| share(row.knn_test)),
        ("1-NN dev", |row| or_na(row.knn_dev, share)),
        ("unmasked", |row| share(row.knn_unmasked)),
        ("majority", |row| share(row.majority)),
        ("accuracy", |row| share(row.acc_full)),
        ("ablated", |row| share(row.acc_ablated)),
        ("random ablated", |row| or_na(row.acc_random_mean.zip(row.acc_random_sd), mean_sd)),
        ("complement ablated", |row| {
            let accuracy = row.acc_complement_mean.zip(row.acc_complement_sd);
            accuracy.map_or("n/a (circuit larger than its complement)".into(), mean_sd)
        }),
        ("circuit / max", |row| size(row.l0, row.l0_max)),
        ("mask init", |row| or_na(row.mask_init_value, |value| format!("{value:.1}"))),
    ];
    table_of(&COLUMNS, rows)
}

/// Draws 1-NN accuracies and ablations of several probes as bars, to `probes.svg` and `probes.png` in `folder`.
///
/// # Errors
/// Returns [`TrainError::Figure`] if there are too many probes for one figure, or the figure cannot be drawn or
/// written.
pub fn draw_probes(folder: impl AsRef<Path>, title: &str, rows: &[ProbeRow]) -> Result<(), TrainError> {
    let folder = folder.as_ref();
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

/// Returns a label such as `a² attn`. The initial mask value and the seed are appended if `rows` has the same variable
/// and block with another initial value or seed.
fn label(row: &ProbeRow, rows: &[ProbeRow]) -> String {
    let same_target = || rows.iter().filter(|other| (other.variable, &other.block) == (row.variable, &row.block));
    let mut label = format!("{} {}", row.variable, row.block);
    if same_target().any(|other| other.mask_init_value != row.mask_init_value)
        && let Some(init) = row.mask_init_value
    {
        label += &format!(" (init {init:.1})");
    }
    if same_target().any(|other| other.seed != row.seed) {
        label += &format!(" seed {}", row.seed);
    }
    label
}
