//! Table, `results.json` and figures of circuit probes on arithmetic, as those of rows.

use std::path::Path;

use super::results::write_rows;
use super::row_figures::draw_rows;
use super::row_table::row_table;
use super::rows::draw_run;
use crate::error::TrainError;
use crate::evaluate::{Measures, ProbeRow, Row};
use crate::recipe::grammar::Kind;
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
    draw_probes(folder, rows)
}

/// Returns a Markdown table with one line per probe.
pub fn probe_table(rows: &[ProbeRow]) -> String {
    row_table(&rows.iter().map(row).collect::<Vec<_>>())
}

/// Draws 1-NN accuracies and ablations of several probes as bars, to `probes.svg` and `probes.png` in `folder`.
///
/// # Errors
/// Returns [`TrainError::Figure`] if the figure cannot be drawn or written.
pub fn draw_probes(folder: impl AsRef<Path>, rows: &[ProbeRow]) -> Result<(), TrainError> {
    draw_rows(folder, &rows.iter().map(row).collect::<Vec<_>>())
}

/// The row of a probe without the name of a run.
fn row(probe: &ProbeRow) -> Row {
    let value = serde_json::to_value(probe).unwrap_or_default();
    let mut measures = Measures::default();
    for (name, value) in value.as_object().into_iter().flatten() {
        measures.set(name, value.clone());
    }
    Row {
        run: String::new(),
        kind: Kind::CircuitProbe,
        model: String::new(),
        data: String::new(),
        variable: value["variable"].as_str().map(Into::into),
        site: None,
        layer: None,
        block: Some(probe.block.clone()),
        seed: probe.seed,
        n_train: 0,
        n_test: 0,
        measures,
    }
}
