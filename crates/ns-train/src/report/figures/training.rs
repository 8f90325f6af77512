//! Training curves: loss and L0 per epoch.

use std::path::Path;

use super::curves::curves;
use super::error::FigureError;
use super::number::drawable;
use super::panel::{Panel, Series};

/// Measurements of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EpochPoint {
    /// The epoch, with a fraction for a measurement within an epoch.
    pub epoch: f64,
    /// Training loss.
    pub loss: f64,
    /// Loss on the test split, if it was measured.
    pub test_loss: Option<f64>,
    /// Number of weights in the circuit, if the model has masks.
    pub l0: Option<f64>,
}

/// Draws training curves to `<folder>/<stem>.svg` and `<folder>/<stem>.png`: a panel of the loss per epoch and, if any
/// epoch has an L0, a panel of the L0 per epoch.
///
/// The loss axis is logarithmic if all losses are above zero and span more than two decades. `l0_max`, the number of
/// masked weights, is drawn as a dashed line. Values that are not finite leave a gap in a curve. A panel without values
/// shows `no data`.
///
/// # Errors
/// Returns [`FigureError::InvalidStem`] if the stem is not a file name, and [`FigureError::Draw`] or
/// [`FigureError::Write`] if a file cannot be drawn or written.
pub fn training_curves(
    folder: &Path,
    stem: &str,
    title: &str,
    epochs: &[EpochPoint],
    l0_max: Option<f64>,
) -> Result<(), FigureError> {
    let mut panels = vec![loss_panel(epochs)];
    if let Some(l0) = series("L0", epochs, |point| point.l0) {
        panels.push(Panel {
            y_label: "L0 (weights in the circuit)".to_owned(),
            x_label: None,
            series: vec![l0],
            reference: l0_max.map(|maximum| ("all masked weights".to_owned(), maximum)),
            log: false,
        });
    }
    curves(folder, stem, title, &panels)
}

fn loss_panel(epochs: &[EpochPoint]) -> Panel {
    let train = series("train", epochs, |point| Some(point.loss));
    let test = series("test", epochs, |point| point.test_loss);
    let series: Vec<Series> = train.into_iter().chain(test).collect();
    let log = spans_decades(&series);
    Panel { y_label: "loss".to_owned(), x_label: None, series, reference: None, log }
}

/// Returns the series of a value over the epochs that have it, or `None` if no epoch has it.
fn series(name: &str, epochs: &[EpochPoint], value: impl Fn(&EpochPoint) -> Option<f64>) -> Option<Series> {
    let points: Vec<(f64, f64)> = epochs.iter().filter_map(|point| Some((point.epoch, value(point)?))).collect();
    (!points.is_empty()).then(|| Series { name: name.to_owned(), points })
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
    use crate::report::figures::output::tests::TestFolder;

    fn search() -> Vec<EpochPoint> {
        (0..90)
            .map(f64::from)
            .map(|epoch| EpochPoint {
                epoch,
                loss: 1.2 + 3.4 * (-epoch / 15.0).exp(),
                test_loss: None,
                l0: Some(32_768.0 + 2_176.0 * epoch / 89.0),
            })
            .collect()
    }

    #[test]
    fn shows_loss_and_l0() -> Result<(), FigureError> {
        let folder = TestFolder::new("training");
        training_curves(folder.path(), "search", "a² · mlp", &search(), Some(65_536.0))?;
        let svg = folder.svg("search");
        for text in ["a² · mlp", "L0 (weights in the circuit)", "all masked weights", "loss", "epoch", "40,000"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(folder.png_size("search"), (1600, 800));
        Ok(())
    }

    #[test]
    fn shows_only_the_loss_without_a_mask() -> Result<(), FigureError> {
        let folder = TestFolder::new("training-loss");
        let epochs: Vec<EpochPoint> = search()
            .into_iter()
            .map(|point| EpochPoint { l0: None, test_loss: Some(point.loss + 0.5), ..point })
            .collect();
        training_curves(folder.path(), "loss", "model", &epochs, Some(65_536.0))?;
        let svg = folder.svg("loss");
        assert!(svg.contains("test") && !svg.contains("L0"));
        assert_eq!(folder.png_size("loss"), (1600, 1000));
        Ok(())
    }

    #[test]
    fn nothing_measured_is_no_data() -> Result<(), FigureError> {
        let folder = TestFolder::new("training-empty");
        let not_finite = EpochPoint { loss: f64::NAN, l0: Some(f64::NAN), ..EpochPoint::default() };
        training_curves(folder.path(), "empty", "model", &[], None)?;
        training_curves(folder.path(), "not-finite", "model", &[not_finite], Some(f64::NAN))?;
        assert_eq!(folder.svg("empty").matches("no data").count(), 1);
        assert_eq!(folder.svg("not-finite").matches("no data").count(), 2);
        Ok(())
    }

    #[test]
    fn log_needs_two_decades_above_zero() {
        let log = |values: &[f64]| {
            let points = values.iter().map(|&value| (0.0, value)).collect();
            spans_decades(&[Series { name: String::new(), points }])
        };
        assert!(log(&[4.6, 0.01, f64::NAN]));
        assert!(!log(&[4.6, 1.2]));
        assert!(!log(&[4.6, 0.0]));
        assert!(!log(&[]));
    }
}
