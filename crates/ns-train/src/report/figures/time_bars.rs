//! Measured times as bars: one panel per kind of work, one bar per device or backend.

use std::path::Path;

use super::axis::Axis;
use super::bars::{Bar, BarPanel, Group, draw_bars};
use super::canvas::Area;
use super::error::{FigureError, check_number};
use super::frame::draw_no_data;
use super::number::drawable;
use super::output::save;
use super::theme::{SERIES, TITLE_STRIP, WIDTH};

/// Largest number of panels, and of bars in a panel. With more, bars would be too narrow for their values.
const MAX_ITEMS: usize = 8;
const HEIGHT: i32 = 700;
const MARGIN: i32 = 28;
/// Space between the names of the bars and the lower margin, in pixels.
const PADDING: i32 = 8;
/// Upper end of the vertical axis, relative to the longest time. The space is for the value above the bar.
const HEADROOM: f64 = 1.12;

/// Measured times of one kind of work.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimePanel {
    /// Name of the work with the unit of the times; the name of the vertical axis.
    pub label: String,
    /// Name of each device or backend, and the time measured on it.
    pub times: Vec<(String, f64)>,
}

/// Draws the panels side by side to `<folder>/<stem>.svg` and `<folder>/<stem>.png`. Each panel has its own vertical
/// axis, which starts at zero.
///
/// A time that is not finite is shown as `n/a`. Without panels, the figure shows `no data`.
///
/// # Errors
/// Returns [`FigureError::TooMany`] for more than 8 panels or more than 8 times in a panel,
/// [`FigureError::InvalidStem`] if the stem is not a file name, and [`FigureError::Draw`] or [`FigureError::Write`] if
/// a file cannot be drawn or written.
pub fn time_bars(folder: impl AsRef<Path>, stem: &str, title: &str, panels: &[TimePanel]) -> Result<(), FigureError> {
    let folder = folder.as_ref();
    check_number("panels", panels.len(), MAX_ITEMS)?;
    for panel in panels {
        check_number("bars in a panel", panel.times.len(), MAX_ITEMS)?;
    }
    save(folder, stem, title, (WIDTH, HEIGHT), |canvas| {
        let whole = Area::new((MARGIN, TITLE_STRIP), (WIDTH - MARGIN, HEIGHT - MARGIN));
        if panels.is_empty() {
            return draw_no_data(canvas, whole);
        }
        let width = whole.width() / panels.len() as i32;
        for (index, panel) in (0..).zip(panels) {
            let left = whole.left + width * index;
            let area = Area::new((left, whole.top), (left + width - MARGIN / 2, whole.bottom - PADDING));
            draw_bars(canvas, &bar_panel(panel), area)?;
        }
        Ok(())
    })
}

/// Returns the bars of a panel: a group of one bar per time.
fn bar_panel(panel: &TimePanel) -> BarPanel<'_> {
    let longest = panel.times.iter().map(|(_, time)| *time).filter(|time| drawable(*time)).fold(0.0, f64::max);
    let axis = Axis::new(0.0, if longest > 0.0 { longest * HEADROOM } else { 1.0 });
    let groups = panel.times.iter().zip(SERIES.iter().cycle()).map(|((label, time), &colour)| {
        let bar = Bar { mean: Some(*time), deviation: None, colour };
        Group { label: vec![label.clone()], bars: vec![bar], mark: None }
    });
    BarPanel { name: &panel.label, axis, legend: Vec::new(), groups: groups.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::output::tests::TestFolder;

    fn panel(label: &str, times: &[(&str, f64)]) -> TimePanel {
        TimePanel { label: label.into(), times: times.iter().map(|(name, time)| ((*name).into(), *time)).collect() }
    }

    #[test]
    fn shows_places_and_times() -> Result<(), FigureError> {
        let folder = TestFolder::new("times");
        let panels =
            [panel("forward (ms)", &[("flex", 61.24), ("wgpu", 2612.3)]), panel("probe step (ms)", &[("flex", 5.25)])];
        time_bars(folder.path(), "times", "Backends", &panels)?;
        let svg = folder.svg("times");
        for text in ["forward (ms)", "probe step (ms)", "flex", "wgpu", "61.2", "2612", "5.250"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(folder.png_size("times"), (1600, 700));
        Ok(())
    }

    #[test]
    fn odd_input_is_drawn_or_refused() -> Result<(), FigureError> {
        let folder = TestFolder::new("times-odd");
        time_bars(folder.path(), "odd", "", &[panel("a", &[("x", f64::NAN), ("y", -1.0)]), panel("b", &[])])?;
        assert_eq!(folder.svg("odd").matches("n/a").count(), 1);
        assert_eq!(folder.svg("odd").matches("no data").count(), 1);
        time_bars(folder.path(), "none", "", &[])?;
        assert_eq!(folder.svg("none").matches("no data").count(), 1);
        let many = time_bars(folder.path(), "many", "", &vec![panel("a", &[]); 9]);
        assert!(matches!(many, Err(FigureError::TooMany { found: 9, limit: 8, .. })));
        Ok(())
    }
}
