//! Tables and figures of circuits that are trained on a model's own task.

use std::path::Path;

use super::accuracy_size::draw_accuracy_size;
use super::table::{Column, mean_sd, or_na, percent, share, size, table_of};
use crate::error::TrainError;
use crate::evaluate::{AblationReport, AblationRow, CircuitRow, Controls};

/// Returns a Markdown table with one line per circuit.
///
/// The ablation columns are those of all masked layers together.
pub fn circuit_table(rows: &[CircuitRow]) -> String {
    const COLUMNS: [Column<CircuitRow>; 10] = [
        ("λ", |row| format!("{:e}", row.l0_lambda)),
        ("circuit / max", |row| size(row.l0, row.l0_max)),
        ("kept", |row| percent(row.l0, row.l0_max)),
        ("accuracy", |row| share(row.ablation.full.accuracy)),
        ("circuit alone", |row| share(all_layers(row).circuit_only.accuracy)),
        ("ablated", |row| share(all_layers(row).zero_ablate.accuracy)),
        ("random ablated", |row| accuracy(all_layers(row).randomly_sampled)),
        ("complement ablated", |row| accuracy(all_layers(row).complement_sampled)),
        ("p", |row| p_value(all_layers(row).randomly_sampled)),
        ("majority", |row| share(row.majority)),
    ];
    table_of(&COLUMNS, rows)
}

/// Returns the ablation of all masked layers together.
fn all_layers(row: &CircuitRow) -> &AblationRow {
    &row.ablation.rows[0]
}

/// Returns a Markdown table with one line per ablated set of layers.
pub fn ablation_table(report: &AblationReport) -> String {
    let mut columns: Vec<Column<AblationRow>> = vec![
        ("layers", |row| row.layers.clone()),
        ("circuit / max", |row| size(row.l0, row.l0_max)),
        ("circuit alone", |row| share(row.circuit_only.accuracy)),
        ("KL", |row| share(row.circuit_only.kl_to_full)),
        ("zero ablated", |row| share(row.zero_ablate.accuracy)),
        ("KL", |row| share(row.zero_ablate.kl_to_full)),
        ("random weights", |row| share(row.random_ablate.accuracy)),
        ("random masks", |row| accuracy(row.randomly_sampled)),
        ("p", |row| p_value(row.randomly_sampled)),
        ("complement masks", |row| accuracy(row.complement_sampled)),
        ("p", |row| p_value(row.complement_sampled)),
    ];
    if report.full.agreement.is_some() {
        columns.push(("agreement ablated", |row| or_na(row.zero_ablate.agreement, share)));
        columns.push(("logit difference ablated", |row| or_na(row.zero_ablate.logit_difference, share)));
    }
    table_of(&columns, &report.rows)
}

/// Formats the mean and standard deviation of the controls' accuracy.
fn accuracy(controls: Option<Controls>) -> String {
    or_na(controls, |controls| mean_sd((controls.accuracy_mean, controls.accuracy_sd)))
}

fn p_value(controls: Option<Controls>) -> String {
    or_na(controls, |controls| share(controls.p_value))
}

/// Draws the accuracy of circuits against the percentage of weights kept, to `accuracy-size.svg` and
/// `accuracy-size.png` in `folder`.
///
/// The curves show the circuit alone, the model with the circuit ablated, and the model with random masks ablated. A
/// dashed line marks the accuracy of the full model.
///
/// # Errors
/// Returns [`TrainError::Figure`] if the figure cannot be drawn or written.
pub fn draw_circuit_sizes(folder: impl AsRef<Path>, title: &str, rows: &[CircuitRow]) -> Result<(), TrainError> {
    let folder = folder.as_ref();
    let points = |accuracy: fn(&AblationRow) -> Option<f64>| {
        let point = |row: &CircuitRow| Some((100.0 * row.l0 / row.l0_max, accuracy(row.ablation.rows.first()?)?));
        rows.iter().filter_map(point).collect()
    };
    let series = [
        ("circuit alone", points(|row| Some(row.circuit_only.accuracy))),
        ("circuit ablated", points(|row| Some(row.zero_ablate.accuracy))),
        ("random masks ablated", points(|row| Some(row.randomly_sampled?.accuracy_mean))),
    ];
    let reference = rows.first().map(|row| ("full model", row.ablation.full.accuracy));
    draw_accuracy_size(folder, title, series, reference)
}
