//! Curves in panels, one panel per quantity.

use std::path::Path;

use super::canvas::Area;
use super::error::{FigureError, check_number};
use super::frame::draw_no_data;
use super::output::save;
use super::panel::{Panel, draw_panel, legend_strip};
use super::theme::{HEIGHT, TITLE_STRIP, WIDTH};

/// Distance between panels and to the edges of the figure, in pixels.
const MARGIN: i32 = 36;
/// Smallest height of a panel without its legend, in pixels.
const MIN_HEIGHT: i32 = 420;
/// Largest number of panels in a legible figure.
const MAX_PANELS: usize = 12;
/// Largest number of series in a legible panel.
const MAX_SERIES: usize = 32;

/// Draws `panels` to `<folder>/<stem>.svg` and `<folder>/<stem>.png`. Two panels are side by side; more are arranged in
/// a grid.
///
/// A panel without drawable values and a figure without panels show `no data`.
///
/// # Errors
/// Returns [`FigureError::TooMany`] for more than 12 panels or more than 32 series in a panel,
/// [`FigureError::InvalidStem`] if the stem is not a file name, and [`FigureError::Draw`] or [`FigureError::Write`] if
/// a file cannot be drawn or written.
pub fn curves(folder: impl AsRef<Path>, stem: &str, title: &str, panels: &[Panel]) -> Result<(), FigureError> {
    let folder = folder.as_ref();
    check_number("panels", panels.len(), MAX_PANELS)?;
    for panel in panels {
        check_number("series in a panel", panel.series.len(), MAX_SERIES)?;
    }
    let (columns, rows) = grid(panels.len());
    let width = WIDTH.max(600 * columns);
    let panel_width = (width - MARGIN) / columns - MARGIN;
    // All panels reserve the height of the tallest legend, so that their axes align.
    let strip = panels.iter().map(|panel| legend_strip(panel, panel_width)).max().unwrap_or(0);
    let default_height = if (columns, rows) == (2, 1) { 800 } else { HEIGHT };
    let height = default_height.max(TITLE_STRIP + rows * (MIN_HEIGHT + strip));
    save(folder, stem, title, (width, height), |canvas| {
        if panels.is_empty() {
            return draw_no_data(canvas, Area::new((0, TITLE_STRIP), (width, height)));
        }
        let cell = ((width - MARGIN) / columns, (height - TITLE_STRIP) / rows);
        for (index, panel) in (0..).zip(panels) {
            let left = MARGIN + cell.0 * (index % columns);
            let top = TITLE_STRIP + cell.1 * (index / columns);
            let area = Area::new((left, top), (left + cell.0 - MARGIN, top + cell.1 - 12));
            draw_panel(canvas, panel, area, strip)?;
        }
        Ok(())
    })
}

/// Returns the number of columns and rows for `panels` panels.
fn grid(panels: usize) -> (i32, i32) {
    let columns = (panels as f64).sqrt().ceil().max(1.0) as usize;
    (columns as i32, panels.div_ceil(columns).max(1) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::output::tests::TestFolder;
    use crate::report::figures::panel::Series;

    fn panel(series: &[(&str, &[f64])]) -> Panel {
        let series = series.iter().map(|(name, values)| Series {
            name: (*name).to_owned(),
            points: (0..).map(f64::from).zip(values.iter().copied()).collect(),
            ..Series::default()
        });
        Panel { y_label: "loss".to_owned(), series: series.collect(), ..Panel::default() }
    }

    #[test]
    fn names_series_reference_and_axes() -> Result<(), FigureError> {
        let folder = TestFolder::new("curves");
        let mut panel = panel(&[("train", &[4.0, 2.0]), ("test <1>", &[4.0, 3.0])]);
        panel.reference = Some(("chance".to_owned(), 4.6));
        curves(folder.path(), "two", "Loss & more", &[panel])?;
        let svg = folder.svg("two");
        for text in ["train", "test &lt;1&gt;", "chance", "epoch", "loss", "Loss &amp; more", "sans-serif"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(folder.png_size("two"), (1600, 1000));
        Ok(())
    }

    #[test]
    fn says_when_there_is_no_data() -> Result<(), FigureError> {
        let folder = TestFolder::new("curves-empty");
        let nothing = panel(&[("train", &[f64::NAN, f64::INFINITY]), ("test", &[])]);
        let below_zero = Panel { log: true, ..panel(&[("train", &[0.0, -1.0])]) };
        for (stem, panels) in [("none", vec![]), ("not-finite", vec![nothing]), ("log", vec![below_zero])] {
            curves(folder.path(), stem, "title", &panels)?;
            assert!(folder.svg(stem).contains("no data"), "{stem}");
            assert_eq!(folder.png_size(stem), (1600, 1000));
        }
        Ok(())
    }

    #[test]
    fn a_bad_value_leaves_a_gap() -> Result<(), FigureError> {
        let folder = TestFolder::new("curves-gap");
        let values = [1.0, 2.0, f64::NAN, 1e308, 3.0, 1.0, f64::NEG_INFINITY, 2.0];
        curves(folder.path(), "gap", "title", &[panel(&[("train", &values)])])?;
        let svg = folder.svg("gap");
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 5);
        Ok(())
    }

    #[test]
    fn a_control_has_the_colour_of_its_curve_and_one_entry_in_the_legend() -> Result<(), FigureError> {
        let folder = TestFolder::new("curves-control");
        let mut panel =
            panel(&[("first", &[1.0, 2.0]), ("same", &[0.5, 0.6]), ("second", &[3.0, 1.0]), ("same", &[0.1])]);
        panel.series[1].control = true;
        panel.series[3].control = true;
        curves(folder.path(), "control", "title", &[panel])?;
        let svg = folder.svg("control");
        assert_eq!(
            (svg.matches(">same<").count() + svg.matches(">\nsame\n<").count(), svg.contains("second")),
            (1, true)
        );
        let strokes: Vec<&str> =
            svg.split("<polyline").skip(1).filter_map(|line| line.split("stroke=\"").nth(1)?.get(..7)).collect();
        assert_eq!(strokes, ["#0072B2", "#0072B2", "#D55E00"]);
        Ok(())
    }

    #[test]
    fn panels_fill_a_grid() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(grid), [(1, 1), (1, 1), (2, 1), (2, 2), (2, 2), (3, 2)]);
    }
}
