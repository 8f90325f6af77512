//! Results of probes: a table for people, JSON for programs.

use std::path::Path;

use ns_models::write_atomically;
use serde::Serialize;

use crate::{ProbeRow, TrainError};

/// Writes `results.json`: a list of rows.
///
/// # Errors
/// [`TrainError::Io`].
pub fn write_results(folder: &Path, rows: &[ProbeRow]) -> Result<(), TrainError> {
    write_rows(folder, rows)
}

/// Writes `results.json` of any rows.
///
/// # Errors
/// [`TrainError::Io`].
pub fn write_rows<R: Serialize>(folder: &Path, rows: &[R]) -> Result<(), TrainError> {
    std::fs::create_dir_all(folder).map_err(TrainError::io("make", folder))?;
    let path = folder.join("results.json");
    let text = serde_json::to_string_pretty(rows).map_err(|error| TrainError::io("write", &path)(error.into()))?;
    write_atomically(&path, (text + "\n").as_bytes()).map_err(TrainError::io("write", path))
}

/// Adds rows to the `results.json` of a folder; a row of the same probe and seed is replaced.
///
/// # Errors
/// [`TrainError::Io`], also when the file that is there is no list of rows.
pub fn add_results(folder: &Path, rows: &[ProbeRow]) -> Result<(), TrainError> {
    let path = folder.join("results.json");
    let mut all: Vec<ProbeRow> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| TrainError::io("read", &path)(error.into()))?,
        Err(_) => Vec::new(),
    };
    for row in rows {
        match all.iter_mut().find(|other| other.is_same_probe(row)) {
            Some(same) => *same = row.clone(),
            None => all.push(row.clone()),
        }
    }
    write_results(folder, &all)
}

/// The table, in Markdown.
pub fn table(rows: &[ProbeRow]) -> String {
    let header = [
        "variable",
        "block",
        "seed",
        "1-NN test",
        "1-NN dev",
        "unmasked",
        "majority",
        "accuracy",
        "ablated",
        "random ablated",
        "complement ablated",
        "circuit / max",
        "masks from",
    ];
    markdown(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// A table in Markdown, its columns as wide as their widest cell.
pub fn markdown(header: &[&str], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| Some(line.get(column)?.chars().count()));
        cells.chain([header[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let body: String = lines.iter().map(|cells| line(cells)).collect();
    line(&header) + &line(&rule) + &body
}

fn cells(row: &ProbeRow) -> Vec<String> {
    let share = |value: f64| format!("{value:.3}");
    let control = |mean: Option<f64>, sd: Option<f64>, otherwise: &str| match (mean, sd) {
        (Some(mean), Some(sd)) => format!("{mean:.3} ± {sd:.3}"),
        _ => otherwise.into(),
    };
    vec![
        row.variable.to_string(),
        row.block.clone(),
        row.seed.to_string(),
        share(row.knn_test),
        share(row.knn_dev),
        share(row.knn_unmasked),
        share(row.majority),
        share(row.acc_full),
        share(row.acc_ablated),
        control(row.acc_random_mean, row.acc_random_sd, "n/a"),
        control(row.acc_complement_mean, row.acc_complement_sd, "n/a (circuit larger than its complement)"),
        format!("{} / {}", row.l0, row.l0_max),
        row.mask_init_value.map_or("n/a".into(), |value| format!("{value:.1}")),
    ]
}
