//! Shares as groups of bars, in one chart per measured quantity.

use std::path::Path;

use plotters::style::RGBColor;

use super::axis::Axis;
use super::bars::{Bar, BarPanel, Group, draw_bars, room_below};
use super::canvas::Area;
use super::error::{FigureError, check_number};
use super::frame::{draw_no_data, room_left};
use super::legend::{Entry, Symbol};
use super::output::save;
use super::text::{widest, width, wrapped};
use super::theme::{BLUE, CONTROL, INK, ORANGE, TICK, TITLE_STRIP, VERMILION, WIDTH};

/// Largest number of charts, and of groups in a chart, of a legible figure.
const MAX_CHARTS: usize = 6;
const MAX_GROUPS: usize = 32;
/// Smallest and largest width of a group, in pixels.
const GROUP_WIDTH: (i32, i32) = (176, 220);
const MARGIN: i32 = 36;
/// Height of a chart whose groups have names of one line, in pixels.
const CHART_HEIGHT: i32 = 455;
/// Space between charts, in pixels.
const GAP: i32 = 12;
/// What separates the parts of a label.
const SEPARATOR: &str = " · ";
/// The vertical axis of shares, with space above 1 for values and whiskers.
const SHARES: Axis = Axis::new(0.0, 1.12);

/// What a bar measures, which selects its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarRole {
    /// A circuit, or the model with its masks.
    Circuit,
    /// The whole model.
    Model,
    /// The model without the circuit.
    Ablated,
    /// A control.
    Control,
}

/// Values of one item, such as a probe.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BarGroup {
    /// Name of the item, such as `number · attn_update_1`. A long name is broken at ` · `.
    pub label: String,
    /// The value of each bar, and its standard deviation if it has one.
    pub values: Vec<Option<(f64, Option<f64>)>>,
    /// A value that is marked with a line across the bars.
    pub mark: Option<f64>,
}

/// Groups of bars of one quantity, such as an accuracy, from 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BarChart {
    /// Name of the quantity.
    pub name: String,
    /// Name and role of each bar of a group.
    pub bars: Vec<(String, BarRole)>,
    /// Name of the marked value, if there is one.
    pub mark: Option<String>,
    /// The groups from left to right.
    pub groups: Vec<BarGroup>,
}

/// Draws charts below each other to `<folder>/<stem>.svg` and `<folder>/<stem>.png`.
///
/// A value that is missing or not finite is shown as `n/a`. A bar below 0 has no height, but its value is written. A
/// chart without groups and a figure without charts show `no data`.
///
/// # Errors
/// Returns [`FigureError::TooMany`] for more than 6 charts or more than 32 groups, [`FigureError::InvalidStem`] if the
/// stem is not a file name, and [`FigureError::Draw`] or [`FigureError::Write`] if a file cannot be drawn or written.
pub fn bar_charts(folder: impl AsRef<Path>, stem: &str, title: &str, charts: &[BarChart]) -> Result<(), FigureError> {
    let folder = folder.as_ref();
    check_number("charts", charts.len(), MAX_CHARTS)?;
    for chart in charts {
        check_number("groups of bars", chart.groups.len(), MAX_GROUPS)?;
    }
    let panels: Vec<BarPanel> = charts.iter().map(panel).collect();
    let heights: Vec<i32> = panels.iter().map(|panel| CHART_HEIGHT + room_below(panel) - room_below(&EMPTY)).collect();
    let figure_width = charts.iter().map(chart_width).max().unwrap_or(WIDTH);
    let height = TITLE_STRIP + heights.iter().sum::<i32>().max(CHART_HEIGHT);
    save(folder, stem, title, (figure_width, height), |canvas| {
        if panels.is_empty() {
            return draw_no_data(canvas, Area::new((0, TITLE_STRIP), (figure_width, height)));
        }
        let mut top = TITLE_STRIP;
        for (panel, height) in panels.iter().zip(&heights) {
            draw_bars(canvas, panel, Area::new((MARGIN, top), (figure_width - MARGIN, top + height - GAP)))?;
            top += height;
        }
        Ok(())
    })
}

/// A chart without groups.
const EMPTY: BarPanel = BarPanel { name: "", axis: SHARES, legend: Vec::new(), groups: Vec::new() };

/// The width of a figure with a chart, in pixels. Many or long labels widen it.
fn chart_width(chart: &BarChart) -> i32 {
    let room = line_width(chart.groups.len());
    let lines: Vec<String> = chart.groups.iter().flat_map(|group| lines(&group.label, room)).collect();
    let label = widest(lines.iter().map(String::as_str), TICK) + 24;
    let bars = label.clamp(GROUP_WIDTH.0, GROUP_WIDTH.1) * chart.groups.len() as i32;
    WIDTH.max(bars + room_left(&SHARES) + 2 * MARGIN)
}

fn panel(chart: &BarChart) -> BarPanel<'_> {
    let bar = |value: Option<(f64, Option<f64>)>, role: BarRole| Bar {
        mean: value.map(|(mean, _)| mean),
        deviation: value.and_then(|(_, deviation)| deviation),
        colour: colour(role),
    };
    let group = |group: &BarGroup| Group {
        label: lines(&group.label, line_width(chart.groups.len())),
        bars: group.values.iter().zip(&chart.bars).map(|(value, (_, role))| bar(*value, *role)).collect(),
        mark: group.mark,
    };
    let bars = chart.bars.iter().map(|(name, role)| Entry::new(name, Symbol::Bar, colour(*role)));
    let mark = chart.mark.iter().map(|name| Entry::new(name, Symbol::Mark, INK));
    BarPanel {
        name: &chart.name,
        axis: SHARES,
        legend: bars.chain(mark).collect(),
        groups: chart.groups.iter().map(group).collect(),
    }
}

/// Width of a line of a label in a chart of this many groups, in pixels.
fn line_width(groups: usize) -> f64 {
    let bars = WIDTH - room_left(&SHARES) - 2 * MARGIN;
    f64::from((bars / groups.max(1) as i32).max(GROUP_WIDTH.1) - 24)
}

/// The lines of a label, which is broken between its parts. A part that is wider than `room` is broken as a name.
fn lines(label: &str, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in label.split(SEPARATOR) {
        let longer = lines.last().map(|line| format!("{line}{SEPARATOR}{part}"));
        match longer.filter(|line| width(line, TICK) <= room).zip(lines.last_mut()) {
            Some((longer, line)) => *line = longer,
            None => lines.extend(wrapped(part, TICK, room)),
        }
    }
    lines
}

fn colour(role: BarRole) -> RGBColor {
    match role {
        BarRole::Circuit => ORANGE,
        BarRole::Model => BLUE,
        BarRole::Ablated => VERMILION,
        BarRole::Control => CONTROL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::output::tests::TestFolder;

    fn chart(labels: &[&str]) -> BarChart {
        let group = |label: &&str| BarGroup {
            label: (*label).to_owned(),
            values: vec![Some((0.981, None)), Some((0.434, Some(0.04)))],
            mark: Some(0.125),
        };
        BarChart {
            name: "1-NN test accuracy".into(),
            bars: vec![("circuit".into(), BarRole::Circuit), ("control".into(), BarRole::Control)],
            mark: Some("majority class".into()),
            groups: labels.iter().map(group).collect(),
        }
    }

    #[test]
    fn shows_labels_and_values() -> Result<(), FigureError> {
        let folder = TestFolder::new("bars");
        let mut second = chart(&["a² · attn"]);
        second.groups[0].values[1] = None;
        bar_charts(folder.path(), "two", "Probes", &[chart(&["a² · attn", "−b² · mlp"]), second])?;
        let svg = folder.svg("two");
        for text in ["a² · attn", "−b² · mlp", "0.981", "0.434", "majority class", "1-NN test accuracy"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!((svg.matches("n/a").count(), folder.png_size("two")), (1, (1600, 1000)));
        bar_charts(folder.path(), "one", "Probes", &[chart(&["a"])])?;
        assert_eq!(folder.png_size("one"), (1600, 545));
        Ok(())
    }

    #[test]
    fn odd_input_is_drawn_or_refused() -> Result<(), FigureError> {
        let folder = TestFolder::new("bars-odd");
        let mut odd = chart(&["odd", "odd"]);
        odd.groups[0].values = vec![Some((f64::NAN, None)), Some((7.0, Some(f64::NAN)))];
        odd.groups[1] = BarGroup { values: vec![Some((-3.5, Some(1.0)))], mark: Some(f64::NAN), ..BarGroup::default() };
        bar_charts(folder.path(), "odd", "Probes", &[odd])?;
        let svg = folder.svg("odd");
        assert!(svg.matches("n/a").count() == 1 && svg.contains("-3.500"));
        bar_charts(folder.path(), "none", "Probes", &[chart(&[]), chart(&[])])?;
        assert_eq!(folder.svg("none").matches("no data").count(), 2);
        bar_charts(folder.path(), "empty", "Probes", &[])?;
        assert_eq!(folder.svg("empty").matches("no data").count(), 1);
        let many = bar_charts(folder.path(), "many", "Probes", &[chart(&["a"; 33])]);
        assert!(matches!(many, Err(FigureError::TooMany { found: 33, limit: 32, .. })));
        Ok(())
    }

    #[test]
    fn many_groups_widen_and_long_labels_heighten_the_figure() -> Result<(), FigureError> {
        let folder = TestFolder::new("bars-many");
        bar_charts(folder.path(), "wide", "Probes", &[chart(&["row"; 12])])?;
        let (width, height) = folder.png_size("wide");
        assert!(width > 1900 && height == 545);
        let lines = |label| lines(label, line_width(8));
        assert_eq!(lines("number · λ 1e-7 · attn_update_1"), ["number · λ 1e-7", "attn_update_1"]);
        assert_eq!(lines("attn_update_1 · λ 1e-7"), ["attn_update_1", "λ 1e-7"]);
        assert_eq!(lines("a"), ["a"]);
        bar_charts(folder.path(), "long", "Probes", &[chart(&["number · attn_update_1 · λ 1e-7"; 8])])?;
        assert!(folder.png_size("long").1 > 545 && folder.svg("long").contains("λ 1e-7"));
        Ok(())
    }
}
