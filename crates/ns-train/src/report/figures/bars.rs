//! Groups of vertical bars with their values above them.

use plotters::style::RGBColor;

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn, Label};
use super::frame::{Frame, draw_no_data, room_left};
use super::legend::{self, Entry};
use super::number::drawable;
use super::text::{fitted, width};
use super::theme::{GRID, INK, MUTED, NAME, TICK, VALUE};

/// Space below a plot area for names of groups of one line, and the height of each further line, in pixels.
const BELOW: i32 = 48;
const LINE: i32 = 28;
/// Share of the width of a group that its bars fill.
const FILL: f64 = 0.86;
/// Largest width of a bar, in pixels.
const MAX_BAR_WIDTH: f64 = 130.0;
/// Height of a value above its bar, in pixels.
const VALUE_HEIGHT: i32 = 26;

/// One bar: a mean and, optionally, a standard deviation that is drawn as a whisker in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bar {
    pub(super) mean: Option<f64>,
    pub(super) deviation: Option<f64>,
    pub(super) colour: RGBColor,
}

/// Bars with a common label, from left to right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// The lines of the name of the group.
    pub(super) label: Vec<String>,
    pub(super) bars: Vec<Bar>,
    /// A value that is marked with a line across all bars of the group.
    pub(super) mark: Option<f64>,
}

/// Groups of bars on a common vertical axis that starts at zero.
pub(super) struct BarPanel<'a> {
    /// Name of the vertical axis.
    pub(super) name: &'a str,
    pub(super) axis: Axis,
    pub(super) legend: Vec<Entry>,
    /// The groups, side by side with equal widths. Groups of several bars are separated by light lines.
    pub(super) groups: Vec<Group>,
}

/// Space below the plot area of a panel for the names of its groups, in pixels.
pub(super) fn room_below(panel: &BarPanel<'_>) -> i32 {
    let lines = panel.groups.iter().map(|group| group.label.len()).max().unwrap_or(1);
    BELOW + LINE * (lines.max(1) as i32 - 1)
}

/// Draws `panel` into `area`, or its axes and the text `no data` if it has no groups.
pub(super) fn draw_bars(canvas: &mut Canvas<'_>, panel: &BarPanel<'_>, area: Area) -> Drawn {
    let legend_area = Area { left: area.left + room_left(&panel.axis), ..area };
    let top = area.top + legend::height(NAME, &panel.legend, legend_area.width());
    let plot = Area { top, bottom: area.bottom - room_below(panel), ..legend_area };
    let frame = Frame { area: plot, x: Axis::UNIT, y: panel.axis };
    frame.draw_y(canvas, panel.name)?;
    if panel.groups.is_empty() {
        draw_no_data(canvas, plot)?;
    }
    let slot = f64::from(plot.width()) / panel.groups.len().max(1) as f64;
    for (index, group) in panel.groups.iter().enumerate() {
        let middle = f64::from(plot.left) + slot * (index as f64 + 0.5);
        draw_group(canvas, group, (middle, slot), &frame)?;
    }
    if panel.groups.iter().any(|group| group.bars.len() > 1) {
        draw_separators(canvas, panel.groups.len(), &frame)?;
    }
    frame.draw_spines(canvas)?;
    legend::draw(NAME, canvas, &panel.legend, legend_area)
}

fn draw_group(canvas: &mut Canvas<'_>, group: &Group, (middle, slot): (f64, f64), frame: &Frame) -> Drawn {
    let count = group.bars.len().max(1) as f64;
    let bar_width = (slot * FILL / count).min(MAX_BAR_WIDTH);
    let (left, right) = (middle - bar_width * count / 2.0, middle + bar_width * count / 2.0);
    let mark = group.mark.filter(|&mark| drawable(mark)).map(|mark| clamped_row(frame, mark));
    for (index, bar) in group.bars.iter().enumerate() {
        let start = left + bar_width * index as f64;
        let span = (start.round() as i32 + 1, (start + bar_width).round() as i32 - 1);
        draw_bar(canvas, bar, span, mark, frame)?;
    }
    if let Some(row) = mark {
        let ends = (left.round() as i32 - 6, right.round() as i32 + 6);
        canvas.across(ends, row, 3, INK)?;
    }
    for (index, line) in (0..).zip(&group.label) {
        let (line, size) = fitted(line, TICK, slot - 8.0);
        let at = (middle.round() as i32, frame.area.bottom + 26 + LINE * index);
        canvas.text(&line, at, Label::new(size).centred())?;
    }
    Ok(())
}

fn draw_bar(canvas: &mut Canvas<'_>, bar: &Bar, span: (i32, i32), mark: Option<i32>, frame: &Frame) -> Drawn {
    let (left, right) = span;
    let middle = (left + right) / 2;
    let base = frame.area.bottom;
    let Some(mean) = bar.mean.filter(|&mean| drawable(mean)) else {
        let label = value_label("n/a", right - left);
        return canvas.text("n/a", (middle, base - 16), label.coloured(MUTED));
    };
    let mut top = clamped_row(frame, mean);
    canvas.fill(Area::new((left, top), (right, base)), bar.colour)?;
    if let Some(deviation) = bar.deviation.filter(|&deviation| drawable(deviation)) {
        top = draw_whisker(canvas, middle, (mean - deviation.abs(), mean + deviation.abs()), frame)?.min(top);
    }
    let at = (middle, value_row(top, mark));
    let text = value_text(mean);
    canvas.text(&text, at, value_label(&text, right - left))
}

/// Formats a value with up to three decimals: four digits, or the whole part if it is longer.
fn value_text(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// Draws a whisker from `low` to `high` and returns the pixel row of its upper end.
fn draw_whisker(canvas: &mut Canvas<'_>, column: i32, (low, high): (f64, f64), frame: &Frame) -> Drawn<i32> {
    let (top, bottom) = (clamped_row(frame, high), clamped_row(frame, low));
    canvas.down(column, (top, bottom), 2, INK)?;
    canvas.across((column - 8, column + 8), top, 2, INK)?;
    canvas.across((column - 8, column + 8), bottom, 2, INK)?;
    Ok(top)
}

/// Returns the pixel row of the text of a value: directly above its bar, or above the mark if the mark would cross the
/// text.
fn value_row(top: i32, mark: Option<i32>) -> i32 {
    let top = match mark {
        Some(mark) if mark <= top && mark > top - VALUE_HEIGHT => mark,
        _ => top,
    };
    top - VALUE_HEIGHT / 2 - 2
}

/// Returns a text style in which `text` fits the width of its bar, in pixels.
fn value_label(text: &str, bar_width: i32) -> Label {
    let room = f64::from(bar_width - 4) * VALUE / width(text, VALUE);
    Label::new(VALUE.min(room)).centred()
}

/// Returns the pixel row of `value`, clamped to the frame.
fn clamped_row(frame: &Frame, value: f64) -> i32 {
    frame.row(value).clamp(frame.area.top, frame.area.bottom)
}

/// Draws light separators between the labels of the groups.
fn draw_separators(canvas: &mut Canvas<'_>, groups: usize, frame: &Frame) -> Drawn {
    let area = frame.area;
    for index in 1..groups {
        let column = area.left + (f64::from(area.width()) * index as f64 / groups as f64).round() as i32;
        canvas.down(column, (area.bottom, area.bottom + 12), 2, GRID)?;
    }
    Ok(())
}
