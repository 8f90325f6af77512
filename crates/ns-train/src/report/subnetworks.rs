//! Table and figure of subnetwork probe results.

use std::path::Path;

use super::accuracy_size::draw_accuracy_size;
use super::table::{markdown, percent, share, size};
use crate::error::TrainError;
use crate::evaluate::SubnetworkRow;

/// Returns a Markdown table with one line per probe.
pub fn subnetwork_table(rows: &[SubnetworkRow]) -> String {
    let header = ["probe", "labels", "kept", "circuit / max", "train", "test", "majority"];
    let cells = |row: &SubnetworkRow| {
        let kept = row.l0.zip(row.l0_max).map_or("all".into(), |(l0, max)| size(l0, max));
        vec![
            row.variant.l0_lambda.map_or("plain".into(), |lambda| format!("masks, λ {lambda:e}")),
            if row.variant.control { "shuffled".into() } else { "real".into() },
            percent(row.share_kept(), 1.0),
            kept,
            share(row.train_accuracy),
            share(row.test_accuracy),
            share(row.majority),
        ]
    };
    markdown(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Draws the accuracy of subnetwork probes against the percentage of weights kept, to `accuracy-size.svg` and
/// `accuracy-size.png` in `folder`.
///
/// The controls, which are trained on shuffled labels, have their own curves. A dashed line marks the majority
/// baseline.
///
/// # Errors
/// Returns [`TrainError::Figure`] if the figure cannot be drawn or written.
pub fn draw_subnetworks(folder: &Path, title: &str, rows: &[SubnetworkRow]) -> Result<(), TrainError> {
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
