//! One panel of curves.

use plotters::backend::DrawingBackend;

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn};
use super::frame::{BELOW, Frame, draw_no_data, room_left};
use super::legend::{self, Entry, Sign};
use super::number::drawable;
use super::theme::{GRID, MUTED, SERIES};

/// A series of at most this many points shows each of them as a dot.
const FEW_POINTS: usize = 30;
/// Room above the plot area, for half a tick label.
const ABOVE: i32 = 14;

/// A named curve.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Name in the legend, such as `train`.
    pub name: String,
    /// Epoch, or what the panel is over, and value, in the order in which they are joined. A value that cannot be
    /// drawn leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// One quantity over the epochs, or over another one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Panel {
    /// Name of the quantity.
    pub y_label: String,
    /// What it is drawn over; the epoch if it is not said.
    pub x_label: Option<String>,
    /// Its curves. A legend is drawn when there are several, or a reference.
    pub series: Vec<Series>,
    /// A named value that a dashed line marks.
    pub reference: Option<(String, f64)>,
    /// Whether the axis is logarithmic; values of zero and below are then left out.
    pub log: bool,
}

/// Height of the strip that the legend of `panel` needs, in a panel of this width.
pub(super) fn legend_strip(panel: &Panel, width: i32) -> i32 {
    let (_, y) = axes(panel).unwrap_or_else(unit_axes);
    legend::height(&legend_entries(panel), width - room_left(&y))
}

/// Draws `panel` into `area`, of which the upper `strip` pixels are for the legend.
pub(super) fn draw_panel<B: DrawingBackend>(canvas: &mut Canvas<B>, panel: &Panel, area: Area, strip: i32) -> Drawn<B> {
    let axes = axes(panel);
    let (x, y) = axes.unwrap_or_else(unit_axes);
    let legend_area = Area { left: area.left + room_left(&y), ..area };
    let plot = Area { top: area.top + strip + ABOVE, bottom: area.bottom - BELOW, ..legend_area };
    let frame = Frame { area: plot, x, y };
    if axes.is_none() {
        return draw_empty(canvas, panel, &frame);
    }
    frame.draw_x(canvas, x_label(panel))?;
    frame.draw_y(canvas, &panel.y_label)?;
    draw_reference(canvas, panel, &frame)?;
    for (index, series) in panel.series.iter().enumerate() {
        draw_series(canvas, series, index, &frame)?;
    }
    frame.draw_spines(canvas)?;
    legend::draw(canvas, &legend_entries(panel), legend_area)
}

fn x_label(panel: &Panel) -> &str {
    panel.x_label.as_deref().unwrap_or("epoch")
}

fn unit_axes() -> (Axis, Axis) {
    (Axis::new(0.0, 1.0), Axis::new(0.0, 1.0))
}

fn draw_empty<B: DrawingBackend>(canvas: &mut Canvas<B>, panel: &Panel, frame: &Frame) -> Drawn<B> {
    let area = frame.area;
    canvas.across((area.left, area.right), area.top, 2, GRID)?;
    canvas.down(area.right, (area.top, area.bottom), 2, GRID)?;
    frame.draw_spines(canvas)?;
    frame.draw_x_name(canvas, x_label(panel))?;
    frame.draw_y_name(canvas, &panel.y_label)?;
    draw_no_data(canvas, area)
}

fn draw_reference<B: DrawingBackend>(canvas: &mut Canvas<B>, panel: &Panel, frame: &Frame) -> Drawn<B> {
    match panel.reference {
        Some((_, value)) if frame.y.shows(value) => {
            canvas.dashes((frame.area.left, frame.area.right), frame.row(value), MUTED)
        }
        _ => Ok(()),
    }
}

fn draw_series<B: DrawingBackend>(canvas: &mut Canvas<B>, series: &Series, index: usize, frame: &Frame) -> Drawn<B> {
    let colour = SERIES[index % SERIES.len()];
    let few = series.points.len() <= FEW_POINTS;
    for run in series.points.split(|&(x, y)| !frame.x.shows(x) || !frame.y.shows(y)) {
        let points: Vec<(f64, f64)> = run.iter().map(|&point| frame.point(point)).collect();
        if points.len() > 1 {
            canvas.path(&points, 4, colour)?;
        }
        if few || points.len() == 1 {
            for (x, y) in points {
                canvas.dot((x.round() as i32, y.round() as i32), 6, colour)?;
            }
        }
    }
    Ok(())
}

/// Axes around all that can be drawn, or nothing if no point can.
fn axes(panel: &Panel) -> Option<(Axis, Axis)> {
    let usable: Vec<(f64, f64)> = panel
        .series
        .iter()
        .flat_map(|series| series.points.iter().copied())
        .filter(|&(x, y)| Axis::linear([x]).is_some() && vertical(panel.log, [y]).is_some())
        .collect();
    let x = Axis::linear(usable.iter().map(|point| point.0))?;
    let reference = panel.reference.iter().map(|reference| reference.1);
    let y = vertical(panel.log, usable.iter().map(|point| point.1).chain(reference))?;
    Some((x.whole_ticks(), y))
}

fn vertical(log: bool, values: impl IntoIterator<Item = f64>) -> Option<Axis> {
    if log { Axis::logarithmic(values) } else { Axis::linear(values) }
}

fn legend_entries(panel: &Panel) -> Vec<Entry> {
    let reference = panel.reference.iter().filter(|(_, value)| drawable(*value));
    if panel.series.len() < 2 && reference.clone().next().is_none() {
        return Vec::new();
    }
    panel
        .series
        .iter()
        .zip(SERIES.iter().cycle())
        .map(|(series, &colour)| Entry::new(&series.name, Sign::Line, colour))
        .chain(reference.map(|(name, _)| Entry::new(name, Sign::Dashes, MUTED)))
        .collect()
}
