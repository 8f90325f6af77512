//! Table and figure of subnetwork probe results.

use std::path::Path;

use super::accuracy_size::draw_accuracy_size;
use super::table::{Column, percent, share, size, table_of};
use crate::error::TrainError;
use crate::evaluate::SubnetworkRow;

/// Returns a Markdown table with one line per probe.
pub fn subnetwork_table(rows: &[SubnetworkRow]) -> String {
    const COLUMNS: [Column<SubnetworkRow>; 7] = [
        ("probe", |row| row.variant.l0_lambda.map_or("plain".into(), |lambda| format!("masks, λ {lambda:e}"))),
        ("labels", |row| if row.variant.control { "shuffled".into() } else { "real".into() }),
        ("kept", |row| percent(row.share_kept(), 1.0)),
        ("circuit / max", |row| row.l0.zip(row.l0_max).map_or("all".into(), |(l0, max)| size(l0, max))),
        ("train", |row| share(row.train_accuracy)),
        ("test", |row| share(row.test_accuracy)),
        ("majority", |row| share(row.majority)),
    ];
    table_of(&COLUMNS, rows)
}

/// Draws the accuracy of subnetwork probes against the percentage of weights kept, to `accuracy-size.svg` and
/// `accuracy-size.png` in `folder`.
///
/// The controls, which are trained on shuffled labels, have their own curves. A dashed line marks the majority
/// baseline.
///
/// # Errors
/// Returns [`TrainError::Figure`] if the figure cannot be drawn or written.
pub fn draw_subnetworks(folder: impl AsRef<Path>, title: &str, rows: &[SubnetworkRow]) -> Result<(), TrainError> {
    let folder = folder.as_ref();
    let points = |control: bool, accuracy: fn(&SubnetworkRow) -> f64| {
        let selected = rows.iter().filter(|row| row.variant.control == control);
        selected.map(|row| (row.share_kept() * 100.0, accuracy(row))).collect()
    };
    let series = [
        ("test", points(false, |row| row.test_accuracy)),
        ("train", points(false, |row| row.train_accuracy)),
        ("control, train", points(true, |row| row.train_accuracy)),
        ("control, test", points(true, |row| row.test_accuracy)),
    ];
    draw_accuracy_size(folder, title, series, rows.first().map(|row| ("majority", row.majority)))
}
