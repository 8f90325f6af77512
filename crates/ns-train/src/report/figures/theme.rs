//! Colours and text sizes, so that all figures look alike.

use plotters::style::RGBColor;

/// Colours of Okabe and Ito, which colour-blind readers can tell apart; the order in which series use them.
pub(super) const SERIES: [RGBColor; 7] = [BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK];

pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILLION: RGBColor = RGBColor(213, 94, 0);
pub(super) const ORANGE: RGBColor = RGBColor(230, 159, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const PURPLE: RGBColor = RGBColor(204, 121, 167);
const SKY: RGBColor = RGBColor(86, 180, 233);
pub(super) const BLACK: RGBColor = RGBColor(0, 0, 0);

pub(super) const WHITE: RGBColor = RGBColor(255, 255, 255);
/// Text.
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
/// Text of less weight, axis lines and bars of a control.
pub(super) const MUTED: RGBColor = RGBColor(96, 96, 96);
/// Bars of a control, which should step back behind the measured ones.
pub(super) const CONTROL: RGBColor = RGBColor(160, 160, 160);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(225, 225, 225);
/// The empty part of a share bar.
pub(super) const TRACK: RGBColor = RGBColor(238, 238, 238);

/// Text size of a figure's title, in pixels of the drawing.
pub(super) const TITLE: f64 = 34.0;
/// Text size of axis names and legends.
pub(super) const NAME: f64 = 25.0;
/// Text size of tick labels.
pub(super) const TICK: f64 = 22.0;
/// Text size of values beside or above bars.
pub(super) const VALUE: f64 = 18.0;

/// Width of a figure, in pixels.
pub(super) const WIDTH: i32 = 1600;
/// Height of a figure whose rows do not ask for another one, in pixels.
pub(super) const HEIGHT: i32 = 1000;
/// Distance of the title's middle from the upper edge.
pub(super) const TITLE_MIDDLE: i32 = 46;
/// Height of the strip that holds the title.
pub(super) const TITLE_STRIP: i32 = 90;
