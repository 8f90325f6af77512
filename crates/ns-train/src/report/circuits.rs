//! The table of an ablation study.

use super::table::{Column, mean_sd, or_na, share, size, table_of};
use crate::evaluate::{AblationReport, AblationRow, Controls};

/// Returns a Markdown table with one line per ablated set of layers.
pub fn ablation_table(report: &AblationReport) -> String {
    let mut columns: Vec<Column<AblationRow>> = vec![
        ("layers", |row| row.layers.clone()),
        ("circuit / max", |row| size(row.l0, row.l0_max)),
        ("circuit alone", |row| share(row.circuit_only.accuracy)),
        ("KL", |row| or_na(row.circuit_only.kl_to_full, share)),
        ("zero ablated", |row| share(row.zero_ablate.accuracy)),
        ("KL", |row| or_na(row.zero_ablate.kl_to_full, share)),
        ("random weights", |row| or_na(row.random_ablate, |random| share(random.accuracy))),
        ("random masks", |row| accuracy(row.randomly_sampled)),
        ("p", |row| p_value(row.randomly_sampled)),
        ("complement masks", |row| accuracy(row.complement_sampled)),
        ("p", |row| p_value(row.complement_sampled)),
    ];
    if report.full.logit_difference.is_some() {
        columns.push(("logit difference alone", |row| or_na(row.circuit_only.logit_difference, share)));
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
