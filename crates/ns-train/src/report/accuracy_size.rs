//! The figure of accuracy against circuit size, which circuits and probes share.

use std::path::Path;

use super::figures::{Panel, Series, curves};
use crate::error::TrainError;

/// Name of the figure.
pub(super) const ACCURACY_SIZE: &str = "accuracy-size";

/// Draws [`ACCURACY_SIZE`] with one panel, see [`size_panel`].
///
/// # Errors
/// Returns [`TrainError::Figure`] if drawing or writing fails.
pub(super) fn draw_accuracy_size<const N: usize>(
    folder: &Path,
    title: &str,
    series: [(&str, Vec<(f64, f64)>); N],
    reference: Option<(&str, f64)>,
) -> Result<(), TrainError> {
    Ok(curves(folder, ACCURACY_SIZE, title, &[size_panel("accuracy", series, reference)])?)
}

/// Named series of points (percentage of the weights kept, accuracy), in any order, and a named value as a dashed line.
/// Series without points are left out.
pub(super) fn size_panel<'a>(
    name: &str,
    series: impl IntoIterator<Item = (&'a str, Vec<(f64, f64)>)>,
    reference: Option<(&str, f64)>,
) -> Panel {
    let sorted = |(name, mut points): (&str, Vec<(f64, f64)>)| {
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        Series { name: name.into(), points, ..Series::default() }
    };
    Panel {
        y_label: name.into(),
        x_label: Some("weights kept, %".into()),
        series: series.into_iter().map(sorted).filter(|series| !series.points.is_empty()).collect(),
        reference: reference.map(|(name, value)| (name.into(), value)),
        log: false,
    }
}
