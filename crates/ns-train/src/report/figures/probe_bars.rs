//! Results of circuit probes as bars: 1-NN accuracy of each circuit, and accuracy of the model without the circuit.

use std::path::Path;

use super::axis::Axis;
use super::bars::{Bar, BarPanel, Group, draw_bars};
use super::canvas::Area;
use super::error::{FigureError, check_number};
use super::frame::room_left;
use super::legend::{Entry, Symbol};
use super::output::save;
use super::text::widest;
use super::theme::{BLUE, CONTROL, HEIGHT, INK, ORANGE, TICK, TITLE_STRIP, VERMILION, WIDTH};

/// Largest number of probes in a legible figure.
const MAX_ROWS: usize = 32;
/// Smallest and largest width of the bars of one probe, in pixels.
const GROUP_WIDTH: (i32, i32) = (176, 320);
const MARGIN: i32 = 36;
/// The vertical axis of accuracies, with space above 1 for values and whiskers.
const ACCURACY: Axis = Axis::new(0.0, 1.12);

/// Measurements of one circuit probe: accuracies from 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProbeBar {
    /// Name of the circuit, such as `a² · attn`.
    pub label: String,
    /// 1-NN test accuracy on the activations of the masked model.
    pub knn_test: f64,
    /// 1-NN test accuracy on the activations of the unmasked model.
    pub knn_unmasked: f64,
    /// Accuracy of always predicting the most frequent class.
    pub majority: f64,
    /// Accuracy of the unmasked model on its own task.
    pub acc_full: f64,
    /// Accuracy of the model with the weights of the circuit set to zero.
    pub acc_ablated: f64,
    /// Mean and standard deviation of the accuracy with the same number of random weights set to zero.
    pub acc_random: Option<(f64, f64)>,
}

/// Draws two panels of bars to `<folder>/<stem>.svg` and `<folder>/<stem>.png`: 1-NN test accuracies and model
/// accuracies, with one group of bars per probe.
///
/// A value that is missing or not finite is shown as `n/a`. Without rows, the panels show `no data`.
///
/// # Errors
/// Returns [`FigureError::TooMany`] for more than 32 rows, [`FigureError::InvalidStem`] if the stem is not a file name,
/// and [`FigureError::Draw`] or [`FigureError::Write`] if a file cannot be drawn or written.
pub fn probe_bars(folder: impl AsRef<Path>, stem: &str, title: &str, rows: &[ProbeBar]) -> Result<(), FigureError> {
    let folder = folder.as_ref();
    check_number("rows", rows.len(), MAX_ROWS)?;
    let (knn, model) = (knn_panel(rows), model_panel(rows));
    let (width, middle) = (figure_width(rows), (TITLE_STRIP + HEIGHT) / 2 - 4);
    let upper = Area::new((MARGIN, TITLE_STRIP), (width - MARGIN, middle));
    let lower = Area::new((MARGIN, middle + 16), (width - MARGIN, HEIGHT - 8));
    save(folder, stem, title, (width, HEIGHT), |canvas| {
        draw_bars(canvas, &knn, upper)?;
        draw_bars(canvas, &model, lower)
    })
}

/// Returns the width of the figure in pixels. Many or long labels widen it.
fn figure_width(rows: &[ProbeBar]) -> i32 {
    let label = widest(rows.iter().map(|row| row.label.as_str()), TICK) + 24;
    let bars = label.clamp(GROUP_WIDTH.0, GROUP_WIDTH.1) * rows.len() as i32;
    WIDTH.max(bars + room_left(&ACCURACY) + 2 * MARGIN)
}

fn knn_panel(rows: &[ProbeBar]) -> BarPanel<'_> {
    let groups = rows.iter().map(|row| {
        let bars = vec![
            Bar { mean: Some(row.knn_test), deviation: None, colour: ORANGE },
            Bar { mean: Some(row.knn_unmasked), deviation: None, colour: BLUE },
        ];
        Group { label: &row.label, bars, mark: Some(row.majority) }
    });
    let legend = vec![
        Entry::new("circuit only (masked)", Symbol::Bar, ORANGE),
        Entry::new("whole model (unmasked)", Symbol::Bar, BLUE),
        Entry::new("majority class", Symbol::Mark, INK),
    ];
    BarPanel { name: "1-NN test accuracy", axis: ACCURACY, legend, groups: groups.collect() }
}

fn model_panel(rows: &[ProbeBar]) -> BarPanel<'_> {
    let groups = rows.iter().map(|row| {
        let (random, deviation) = row.acc_random.unzip();
        let bars = vec![
            Bar { mean: Some(row.acc_full), deviation: None, colour: BLUE },
            Bar { mean: Some(row.acc_ablated), deviation: None, colour: VERMILION },
            Bar { mean: random, deviation, colour: CONTROL },
        ];
        Group { label: &row.label, bars, mark: None }
    });
    let legend = vec![
        Entry::new("whole model", Symbol::Bar, BLUE),
        Entry::new("circuit set to zero", Symbol::Bar, VERMILION),
        Entry::new("same number of random weights set to zero (mean ± sd)", Symbol::Bar, CONTROL),
    ];
    BarPanel { name: "model accuracy", axis: ACCURACY, legend, groups: groups.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::output::tests::TestFolder;

    fn row(label: &str) -> ProbeBar {
        ProbeBar {
            label: label.to_owned(),
            knn_test: 0.981,
            knn_unmasked: 0.434,
            majority: 0.125,
            acc_full: 0.997,
            acc_ablated: 0.052,
            acc_random: Some((0.871, 0.04)),
        }
    }

    #[test]
    fn shows_labels_and_values() -> Result<(), FigureError> {
        let folder = TestFolder::new("probe");
        let without = ProbeBar { acc_random: None, ..row("−b² · mlp") };
        probe_bars(folder.path(), "probe", "Probes", &[row("a² · attn"), without])?;
        let svg = folder.svg("probe");
        for text in ["a² · attn", "−b² · mlp", "0.981", "0.434", "0.997", "0.052", "0.871", "majority class"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("n/a").count(), 1);
        assert_eq!(folder.png_size("probe"), (1600, 1000));
        Ok(())
    }

    #[test]
    fn odd_input_is_drawn_or_refused() -> Result<(), FigureError> {
        let folder = TestFolder::new("probe-odd");
        let odd = ProbeBar {
            knn_test: f64::NAN,
            majority: f64::NAN,
            acc_full: f64::INFINITY,
            acc_ablated: 7.0,
            acc_random: Some((-1.0, f64::NAN)),
            ..row("odd")
        };
        probe_bars(folder.path(), "odd", "Probes", &[odd])?;
        assert_eq!(folder.svg("odd").matches("n/a").count(), 2);
        probe_bars(folder.path(), "none", "Probes", &[])?;
        assert_eq!(folder.svg("none").matches("no data").count(), 2);
        let many = probe_bars(folder.path(), "many", "Probes", &vec![row("a"); 33]);
        assert!(matches!(many, Err(FigureError::TooMany { found: 33, limit: 32, .. })));
        Ok(())
    }

    #[test]
    fn many_rows_widen_the_figure() -> Result<(), FigureError> {
        let folder = TestFolder::new("probe-many");
        let rows: Vec<ProbeBar> = (0..12).map(|index| row(&format!("row {index}"))).collect();
        probe_bars(folder.path(), "probe", "Probes", &rows)?;
        let (width, height) = folder.png_size("probe");
        assert!(width > 1900 && height == 1000);
        Ok(())
    }
}
