//! Results of the runs of a recipe: JSON, CSV, table and figures.

use std::path::Path;

use ns_circuit::LayerL0;
use ns_models::write_atomically;
use serde_json::Value;

use super::figures::{LayerShare, circuit_share};
use super::results::write_rows;
use super::row_table::row_table;
use super::training::training_curves;
use crate::error::TrainError;
use crate::evaluate::Row;
use crate::run::Metrics;

/// The rows as CSV, with the union of their keys as columns. What was not measured is empty; a list is JSON.
fn csv_of(rows: &[Row]) -> std::io::Result<Vec<u8>> {
    let cells: Vec<Vec<(&str, Value)>> = rows.iter().map(Row::cells).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in cells.iter().flatten() {
        if !columns.contains(name) {
            columns.push(name);
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns)?;
    for cells in &cells {
        let value = |column: &&str| cells.iter().find(|(name, _)| name == column).map_or(&Value::Null, |cell| &cell.1);
        writer.write_record(columns.iter().map(|column| text_of(value(column))))?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

/// A value as a field of a CSV file.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Writes `results.json`, `results.csv` and `table.md` to a folder, each atomically.
///
/// # Errors
/// Returns [`TrainError::Io`] if the folder or a file cannot be written.
pub fn write_results(folder: impl AsRef<Path>, rows: &[Row]) -> Result<(), TrainError> {
    let folder = folder.as_ref();
    write_rows(folder, rows)?;
    let (csv, table) = (folder.join("results.csv"), folder.join("table.md"));
    let text = csv_of(rows).map_err(TrainError::io("write", &csv))?;
    write_atomically(&csv, &text).map_err(TrainError::io("write", &csv))?;
    write_atomically(&table, row_table(rows).as_bytes()).map_err(TrainError::io("write", &table))
}

/// Draws the figures of a run into its folder: loss and L0 per epoch and, with masks, the share of each weight tensor in
/// the circuit.
///
/// # Errors
/// Returns [`TrainError::Figure`] if a figure cannot be drawn or written.
pub fn draw_run(
    folder: impl AsRef<Path>,
    title: &str,
    metrics: &[Metrics],
    layers: &[LayerL0],
) -> Result<(), TrainError> {
    let folder = folder.as_ref();
    let max = layers.iter().map(|layer| layer.max_weights as f64).sum();
    // An attribution trains nothing.
    if !metrics.is_empty() {
        training_curves(folder, title, metrics, (!layers.is_empty()).then_some(max))?;
    }
    if !layers.is_empty() {
        circuit_share(folder, "circuit-share", title, &layers.iter().map(layer_share).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn layer_share(layer: &LayerL0) -> LayerShare {
    LayerShare { name: layer.name.clone(), in_circuit: layer.weights as f64, total: layer.max_weights as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::some_row;
    use serde_json::json;

    fn rows() -> [Row; 2] {
        [
            some_row(
                "words-0",
                &[("knn_test", 0.75.into()), ("mask_quantiles", json!([0.5, 1.0])), ("l0", 3.0.into())],
            ),
            some_row("words, \"b\"-0", &[("probe_test", 1.0.into()), ("knn_test", Value::Null)]),
        ]
    }

    #[test]
    fn a_csv_file_has_the_union_of_the_keys() {
        let text = csv_of(&rows()).unwrap();
        let mut reader = csv::Reader::from_reader(&text[..]);
        let header = reader.headers().unwrap().iter().map(String::from).collect::<Vec<_>>();
        assert_eq!(header[header.len() - 4..], ["knn_test", "mask_quantiles", "l0", "probe_test"]);
        let lines: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let cells = |line: &csv::StringRecord| line.iter().skip(11).map(String::from).collect::<Vec<_>>();
        assert_eq!(cells(&lines[0]), ["0.75", "[0.5,1.0]", "3.0", ""]);
        assert_eq!(cells(&lines[1]), ["", "", "", "1.0"]);
        assert_eq!(&lines[1][0], "words, \"b\"-0");
    }
}
