//! The figure of accuracy against circuit size, which circuits and subnetwork probes share.

use std::path::Path;

use super::figures::{Panel, Series, curves};
use crate::error::TrainError;

/// Draws `accuracy-size`: named series of points (percentage of the weights kept, accuracy), in any order, and a named
/// value as a dashed line. Series without points are left out.
///
/// # Errors
/// Returns [`TrainError::Figure`] if drawing or writing fails.
pub(super) fn draw_accuracy_size<const N: usize>(
    folder: &Path,
    title: &str,
    series: [(&str, Vec<(f64, f64)>); N],
    reference: Option<(&str, f64)>,
) -> Result<(), TrainError> {
    let sorted = |(name, mut points): (&str, Vec<(f64, f64)>)| {
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        Series { name: name.into(), points }
    };
    let panel = Panel {
        y_label: "accuracy".into(),
        x_label: Some("weights kept, %".into()),
        series: series.into_iter().map(sorted).filter(|series| !series.points.is_empty()).collect(),
        reference: reference.map(|(name, value)| (name.into(), value)),
        log: false,
    };
    Ok(curves(folder, "accuracy-size", title, &[panel])?)
}
