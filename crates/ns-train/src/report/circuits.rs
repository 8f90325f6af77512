//! Tables and figures of circuits that are trained on a model's own task.

use std::path::Path;

use super::accuracy_size::draw_accuracy_size;
use super::table::{markdown, percent, share, size};
use crate::error::TrainError;
use crate::evaluate::{AblationReport, AblationRow, CircuitRow, Controls};

/// Returns a Markdown table with one line per circuit.
///
/// The ablation columns are those of all masked layers together.
pub fn circuit_table(rows: &[CircuitRow]) -> String {
    let header = [
        "λ",
        "circuit / max",
        "kept",
        "accuracy",
        "circuit alone",
        "ablated",
        "random ablated",
        "complement ablated",
        "p",
        "majority",
    ];
    let cells = |row: &CircuitRow| {
        let all = &row.ablation.rows[0];
        vec![
            format!("{:e}", row.l0_lambda),
            size(row.l0, row.l0_max),
            percent(row.l0, row.l0_max),
            share(row.ablation.full.accuracy),
            share(all.circuit_only.accuracy),
            share(all.zero_ablate.accuracy),
            accuracy(all.randomly_sampled),
            accuracy(all.complement_sampled),
            p_value(all.randomly_sampled),
            share(row.majority),
        ]
    };
    markdown(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Returns a Markdown table with one line per ablated set of layers.
pub fn ablation_table(report: &AblationReport) -> String {
    let has_agreement = report.full.agreement.is_some();
    let mut header = vec![
        "layers",
        "circuit / max",
        "circuit alone",
        "KL",
        "zero ablated",
        "KL",
        "random weights",
        "random masks",
        "p",
        "complement masks",
        "p",
    ];
    if has_agreement {
        header.extend(["agreement ablated", "logit difference ablated"]);
    }
    let cells = |row: &AblationRow| {
        let mut cells = vec![
            row.layers.clone(),
            size(row.l0, row.l0_max),
            share(row.circuit_only.accuracy),
            share(row.circuit_only.kl_to_full),
            share(row.zero_ablate.accuracy),
            share(row.zero_ablate.kl_to_full),
            share(row.random_ablate.accuracy),
        ];
        for controls in [row.randomly_sampled, row.complement_sampled] {
            cells.extend([accuracy(controls), p_value(controls)]);
        }
        if has_agreement {
            let or_none = |value: Option<f64>| value.map_or("n/a".into(), share);
            cells.extend([or_none(row.zero_ablate.agreement), or_none(row.zero_ablate.logit_difference)]);
        }
        cells
    };
    markdown(&header, &report.rows.iter().map(cells).collect::<Vec<_>>())
}

/// Formats the mean and standard deviation of the controls' accuracy.
fn accuracy(controls: Option<Controls>) -> String {
    controls.map_or("n/a".into(), |controls| format!("{:.3} ± {:.3}", controls.accuracy_mean, controls.accuracy_sd))
}

fn p_value(controls: Option<Controls>) -> String {
    controls.map_or("n/a".into(), |controls| share(controls.p_value))
}

/// Draws the accuracy of circuits against the percentage of weights kept, to `accuracy-size.svg` and
/// `accuracy-size.png` in `folder`.
///
/// The curves show the circuit alone, the model with the circuit ablated, and the model with random masks ablated. A
/// dashed line marks the accuracy of the full model.
///
/// # Errors
/// Returns [`TrainError::Figure`] if the figure cannot be drawn or written.
pub fn draw_circuit_sizes(folder: &Path, title: &str, rows: &[CircuitRow]) -> Result<(), TrainError> {
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
