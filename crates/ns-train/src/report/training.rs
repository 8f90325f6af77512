//! Training curves of a run: loss and L0 per epoch.

use std::path::Path;

use super::figures::{Panel, Series, curves, drawable};
use crate::error::TrainError;
use crate::run::Metrics;

/// Draws the loss per epoch to `training.svg` and `training.png` in `folder`.
///
/// The figure shows the training loss and, if the metrics have it, the test loss. If the metrics have an L0, a second
/// panel shows it.
///
/// # Errors
/// Returns [`TrainError::Figure`] if the figure cannot be drawn or written.
pub fn draw_training(folder: impl AsRef<Path>, title: &str, metrics: &[Metrics]) -> Result<(), TrainError> {
    training_curves(folder.as_ref(), title, metrics, None)
}

/// Draws the figure of [`draw_training`]. `l0_max`, the number of masked weights, is a dashed line in the panel of the
/// L0.
///
/// The loss axis is logarithmic if all losses are above zero and span more than two decades. Values that are not finite
/// leave a gap in a curve. A panel without values shows `no data`.
///
/// # Errors
/// Returns [`TrainError::Figure`] if the figure cannot be drawn or written.
pub(super) fn training_curves(
    folder: &Path,
    title: &str,
    metrics: &[Metrics],
    l0_max: Option<f64>,
) -> Result<(), TrainError> {
    let mut panels = vec![loss_panel(metrics)];
    if let Some(l0) = series("L0", metrics, |epoch| epoch.get("l0")) {
        panels.push(Panel {
            y_label: "L0 (weights in the circuit)".to_owned(),
            series: vec![l0],
            reference: l0_max.map(|maximum| ("all masked weights".to_owned(), maximum)),
            ..Panel::default()
        });
    }
    Ok(curves(folder, "training", title, &panels)?)
}

fn loss_panel(metrics: &[Metrics]) -> Panel {
    let train = series("train", metrics, |epoch| Some(epoch.loss));
    let test = series("test", metrics, |epoch| epoch.get("test_loss"));
    let series: Vec<Series> = train.into_iter().chain(test).collect();
    let log = spans_decades(&series);
    Panel { y_label: "loss".to_owned(), series, log, ..Panel::default() }
}

/// Returns the series of a value over the epochs that have it, or `None` if no epoch has it.
fn series(name: &str, metrics: &[Metrics], value: impl Fn(&Metrics) -> Option<f64>) -> Option<Series> {
    let points: Vec<_> = metrics.iter().filter_map(|epoch| Some((epoch.epoch as f64, value(epoch)?))).collect();
    (!points.is_empty()).then(|| Series { name: name.to_owned(), points, ..Series::default() })
}

/// Whether all values are above zero and the largest value is more than 100 times the smallest.
fn spans_decades(series: &[Series]) -> bool {
    let values = || {
        let points = series.iter().flat_map(|series| &series.points);
        points.map(|point| point.1).filter(|&value| drawable(value))
    };
    let smallest = values().fold(f64::INFINITY, f64::min);
    let largest = values().fold(0.0, f64::max);
    smallest > 0.0 && largest / smallest > 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::TestFolder;

    fn search() -> Vec<Metrics> {
        (0..90)
            .map(|epoch| {
                let loss = 1.2 + 3.4 * (-f64::from(epoch) / 15.0).exp();
                Metrics::new(epoch as usize, loss).with("l0", 32_768.0 + 2_176.0 * f64::from(epoch) / 89.0)
            })
            .collect()
    }

    #[test]
    fn shows_loss_and_l0() -> Result<(), TrainError> {
        let folder = TestFolder::new("training");
        training_curves(folder.path(), "a² · mlp", &search(), Some(65_536.0))?;
        let svg = folder.svg("training");
        for text in ["a² · mlp", "L0 (weights in the circuit)", "all masked weights", "loss", "epoch", "40,000"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(folder.png_size("training"), (1600, 800));
        Ok(())
    }

    #[test]
    fn shows_only_the_loss_without_a_mask() -> Result<(), TrainError> {
        let folder = TestFolder::new("training-loss");
        let with_test = |epoch: Metrics| Metrics::new(epoch.epoch, epoch.loss).with("test_loss", epoch.loss + 0.5);
        let metrics: Vec<Metrics> = search().into_iter().map(with_test).collect();
        training_curves(folder.path(), "model", &metrics, Some(65_536.0))?;
        let svg = folder.svg("training");
        assert!(svg.contains("test") && !svg.contains("L0"));
        assert_eq!(folder.png_size("training"), (1600, 1000));
        Ok(())
    }

    #[test]
    fn nothing_measured_is_no_data() -> Result<(), TrainError> {
        let folder = TestFolder::new("training-empty");
        draw_training(folder.path(), "model", &[])?;
        assert_eq!(folder.svg("training").matches("no data").count(), 1);
        let mut not_finite = Metrics::new(1, f64::NAN);
        not_finite.others.insert("l0".into(), f64::NAN);
        training_curves(folder.path(), "model", &[not_finite], Some(f64::NAN))?;
        assert_eq!(folder.svg("training").matches("no data").count(), 2);
        Ok(())
    }

    #[test]
    fn log_needs_two_decades_above_zero() {
        let log = |values: &[f64]| {
            let points = values.iter().map(|&value| (0.0, value)).collect();
            spans_decades(&[Series { points, ..Series::default() }])
        };
        assert!(log(&[4.6, 0.01, f64::NAN]));
        assert!(!log(&[4.6, 1.2]));
        assert!(!log(&[4.6, 0.0]));
        assert!(!log(&[]));
    }
}
