//! Colours, text sizes and dimensions shared by all figures.

use plotters::style::RGBColor;

/// Colours of series, in the order of use. They are the colours of Okabe and Ito, which colour-blind readers can
/// distinguish.
pub(super) const SERIES: [RGBColor; 7] = [BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK];

pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub(super) const ORANGE: RGBColor = RGBColor(230, 159, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const PURPLE: RGBColor = RGBColor(204, 121, 167);
const SKY: RGBColor = RGBColor(86, 180, 233);
pub(super) const BLACK: RGBColor = RGBColor(0, 0, 0);

pub(super) const WHITE: RGBColor = RGBColor(255, 255, 255);
/// Main text colour.
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
/// Colour of secondary text and of reference lines.
pub(super) const MUTED: RGBColor = RGBColor(96, 96, 96);
/// Colour of the bars of control measurements, lighter than the colours of the other bars.
pub(super) const CONTROL: RGBColor = RGBColor(160, 160, 160);
/// Colour of grid lines.
pub(super) const GRID: RGBColor = RGBColor(225, 225, 225);
/// Colour of the empty part of a share bar and of empty cells.
pub(super) const TRACK: RGBColor = RGBColor(238, 238, 238);

/// Text size of the title of a figure, in pixels.
pub(super) const TITLE: f64 = 34.0;
/// Text size of axis names and legends, in pixels.
pub(super) const NAME: f64 = 25.0;
/// Text size of tick labels, in pixels.
pub(super) const TICK: f64 = 22.0;
/// Text size of values next to or above bars, in pixels.
pub(super) const VALUE: f64 = 18.0;

/// Default width of a figure, in pixels.
pub(super) const WIDTH: i32 = 1600;
/// Default height of a figure, in pixels.
pub(super) const HEIGHT: i32 = 1000;
/// Distance from the upper edge to the vertical centre of the title, in pixels.
pub(super) const TITLE_MIDDLE: i32 = 46;
/// Height of the strip that holds the title, in pixels.
pub(super) const TITLE_STRIP: i32 = 90;
