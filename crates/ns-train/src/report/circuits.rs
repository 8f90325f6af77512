//! The table of an ablation study.

use super::table::{Column, mean_sd, or_na, share, size, table_of};
use crate::evaluate::{AblationReport, AblationRow, Controls, ReplacedUnits};

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

/// Returns a Markdown table of the ablations that replace outputs, with one line per ablation and set of layers; `None`
/// without such ablations.
pub fn replaced_table(report: &AblationReport) -> Option<String> {
    let of_row = |row: &AblationRow| {
        let named = row.replaced.iter().map(|(name, replaced)| (row.layers.clone(), name.clone(), replaced.clone()));
        named.collect::<Vec<_>>()
    };
    let rows: Vec<(String, String, ReplacedUnits)> = report.rows.iter().flat_map(of_row).collect();
    let mut columns: Vec<Column<(String, String, ReplacedUnits)>> = vec![
        ("layers", |(layers, _, _)| layers.clone()),
        ("ablation", |(_, name, _)| name.clone()),
        ("circuit alone", |(_, _, row)| share(row.circuit_only.accuracy)),
        ("ablated", |(_, _, row)| share(row.ablated.accuracy)),
        ("random neurons", |(_, _, row)| accuracy(row.randomly_sampled)),
        ("p", |(_, _, row)| p_value(row.randomly_sampled)),
        ("complement neurons", |(_, _, row)| accuracy(row.complement_sampled)),
        ("p", |(_, _, row)| p_value(row.complement_sampled)),
    ];
    if report.full.logit_difference.is_some() {
        columns.push(("logit difference alone", |(_, _, row)| or_na(row.circuit_only.logit_difference, share)));
        columns.push(("logit difference ablated", |(_, _, row)| or_na(row.ablated.logit_difference, share)));
    }
    (!rows.is_empty()).then(|| table_of(&columns, &rows))
}

/// Formats the mean and standard deviation of the controls' accuracy.
fn accuracy(controls: Option<Controls>) -> String {
    or_na(controls, |controls| mean_sd((controls.accuracy_mean, controls.accuracy_sd)))
}

fn p_value(controls: Option<Controls>) -> String {
    or_na(controls, |controls| share(controls.p_value))
}
