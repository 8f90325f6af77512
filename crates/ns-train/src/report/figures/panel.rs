//! A panel of curves with axes and legend.

use plotters::style::RGBColor;

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn};
use super::frame::{BELOW, Frame, draw_no_data, room_left};
use super::legend::{self, Entry, Symbol};
use super::number::drawable;
use super::theme::{GRID, MUTED, NAME, SERIES};

/// A series of at most this many points shows each point as a dot.
const FEW_POINTS: usize = 30;
/// Space above the plot area for half a tick label, in pixels.
const ABOVE: i32 = 14;

/// A named curve.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Name in the legend, such as `train`.
    pub name: String,
    /// Points of the curve, in the order in which they are connected: the epoch (or the quantity of the horizontal
    /// axis) and the value. A value that cannot be drawn leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Whether this is the control of the curve before it: a thin line in the same colour. All controls of a panel share
    /// one entry of the legend, with the name of the first.
    pub control: bool,
}

/// Curves of one quantity over the epochs or over another quantity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Panel {
    /// Name of the vertical axis.
    pub y_label: String,
    /// Name of the horizontal axis; `None` for `epoch`.
    pub x_label: Option<String>,
    /// The curves. A panel with several curves or a reference value has a legend.
    pub series: Vec<Series>,
    /// Name and value of a reference, drawn as a dashed line.
    pub reference: Option<(String, f64)>,
    /// Whether the vertical axis is logarithmic. If it is, values of zero and below are left out.
    pub log: bool,
    /// Whether the horizontal axis is logarithmic. If it is, points at zero and below are left out.
    pub log_x: bool,
}

/// Returns the height of the legend of `panel` in pixels, if the panel is `width` pixels wide.
pub(super) fn legend_strip(panel: &Panel, width: i32) -> i32 {
    let (_, y) = axes(panel).unwrap_or((Axis::UNIT, Axis::UNIT));
    legend::height(NAME, &legend_entries(panel), width - room_left(&y))
}

/// Draws `panel` into `area`. The upper `strip` pixels are reserved for the legend.
pub(super) fn draw_panel(canvas: &mut Canvas<'_>, panel: &Panel, area: Area, strip: i32) -> Drawn {
    let axes = axes(panel);
    let (x, y) = axes.unwrap_or((Axis::UNIT, Axis::UNIT));
    let legend_area = Area { left: area.left + room_left(&y), ..area };
    let plot = Area { top: area.top + strip + ABOVE, bottom: area.bottom - BELOW, ..legend_area };
    let frame = Frame { area: plot, x, y };
    if axes.is_none() {
        return draw_empty(canvas, panel, &frame);
    }
    frame.draw_x(canvas, x_label(panel))?;
    frame.draw_y(canvas, &panel.y_label)?;
    draw_reference(canvas, panel, &frame)?;
    for (series, colour) in panel.series.iter().zip(colours(panel)) {
        draw_series(canvas, series, colour, &frame)?;
    }
    frame.draw_spines(canvas)?;
    legend::draw(NAME, canvas, &legend_entries(panel), legend_area)
}

fn x_label(panel: &Panel) -> &str {
    panel.x_label.as_deref().unwrap_or("epoch")
}

/// Draws the axes without ticks, and the text `no data`.
fn draw_empty(canvas: &mut Canvas<'_>, panel: &Panel, frame: &Frame) -> Drawn {
    let area = frame.area;
    canvas.across((area.left, area.right), area.top, 2, GRID)?;
    canvas.down(area.right, (area.top, area.bottom), 2, GRID)?;
    frame.draw_spines(canvas)?;
    frame.draw_x_name(canvas, x_label(panel))?;
    frame.draw_y_name(canvas, &panel.y_label)?;
    draw_no_data(canvas, area)
}

fn draw_reference(canvas: &mut Canvas<'_>, panel: &Panel, frame: &Frame) -> Drawn {
    match panel.reference {
        Some((_, value)) if frame.y.shows(value) => {
            canvas.dashes((frame.area.left, frame.area.right), frame.row(value), MUTED)
        }
        _ => Ok(()),
    }
}

/// The colours of the series: a control has that of the curve before it.
fn colours(panel: &Panel) -> Vec<RGBColor> {
    let mut curves: usize = 0;
    let colour = |series: &Series| {
        curves += usize::from(!series.control);
        SERIES[curves.saturating_sub(1) % SERIES.len()]
    };
    panel.series.iter().map(colour).collect()
}

fn draw_series(canvas: &mut Canvas<'_>, series: &Series, colour: RGBColor, frame: &Frame) -> Drawn {
    let (thickness, radius) = if series.control { (2, 4) } else { (4, 6) };
    let few = series.points.len() <= FEW_POINTS;
    for run in series.points.split(|&(x, y)| !frame.x.shows(x) || !frame.y.shows(y)) {
        let points: Vec<(f64, f64)> = run.iter().map(|&point| frame.point(point)).collect();
        if points.len() > 1 {
            canvas.path(&points, thickness, colour)?;
        }
        if few || points.len() == 1 {
            for (x, y) in points {
                canvas.dot((x.round() as i32, y.round() as i32), radius, colour)?;
            }
        }
    }
    Ok(())
}

/// Returns axes that contain all drawable points and the reference value, or `None` if no point is drawable.
fn axes(panel: &Panel) -> Option<(Axis, Axis)> {
    let usable: Vec<(f64, f64)> = panel
        .series
        .iter()
        .flat_map(|series| series.points.iter().copied())
        .filter(|&(x, y)| scale(panel.log_x, [x]).is_some() && scale(panel.log, [y]).is_some())
        .collect();
    let x = scale(panel.log_x, usable.iter().map(|point| point.0))?;
    let reference = panel.reference.iter().map(|reference| reference.1);
    let y = scale(panel.log, usable.iter().map(|point| point.1).chain(reference))?;
    Some((if panel.log_x { x } else { x.whole_ticks() }, y))
}

/// A linear or logarithmic axis.
fn scale(log: bool, values: impl IntoIterator<Item = f64>) -> Option<Axis> {
    if log { Axis::logarithmic(values) } else { Axis::linear(values) }
}

fn legend_entries(panel: &Panel) -> Vec<Entry> {
    let reference = panel.reference.iter().filter(|(_, value)| drawable(*value));
    if panel.series.len() < 2 && reference.clone().next().is_none() {
        return Vec::new();
    }
    let curves = panel.series.iter().zip(colours(panel)).filter(|(series, _)| !series.control);
    let control = panel.series.iter().find(|series| series.control);
    curves
        .map(|(series, colour)| Entry::new(&series.name, Symbol::Line, colour))
        .chain(control.map(|series| Entry::new(&series.name, Symbol::Thin, MUTED)))
        .chain(reference.map(|(name, _)| Entry::new(name, Symbol::Dashes, MUTED)))
        .collect()
}
