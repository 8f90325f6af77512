//! Table and figure of subnetwork probe results.

use std::path::Path;

use super::figures::{Panel, Series, curves};
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
    let series = |name: &str, control: bool, accuracy: fn(&SubnetworkRow) -> f64| {
        let selected = rows.iter().filter(|row| row.variant.control == control);
        let mut points: Vec<(f64, f64)> = selected.map(|row| (row.share_kept() * 100.0, accuracy(row))).collect();
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        Series { name: name.into(), points }
    };
    let all = [
        series("test", false, |row| row.test_accuracy),
        series("train", false, |row| row.train_accuracy),
        series("control, train", true, |row| row.train_accuracy),
        series("control, test", true, |row| row.test_accuracy),
    ];
    let panel = Panel {
        y_label: "accuracy".into(),
        x_label: Some("weights kept, %".into()),
        series: all.into_iter().filter(|series| !series.points.is_empty()).collect(),
        reference: rows.first().map(|row| ("majority".into(), row.majority)),
        log: false,
    };
    Ok(curves(folder, "accuracy-size", title, &[panel])?)
}
