//! Figures of an experiment, as SVG and PNG files.
//!
//! | function | shows |
//! |---|---|
//! | [`curves`] | named series over the epochs (such as the loss) or another quantity, one panel per measured quantity |
//! | [`bar_charts`] | accuracies of several probes, one chart per measured quantity |
//! | [`circuit_share`] | share of each weight tensor in the circuit |
//! | [`circuit_map`] | one or two circuits in all parts of a model, one bar per part |
//! | [`heat_map`] | share of each head of each layer in a circuit |
//! | [`signed_maps`] | values of both signs by row and column, one panel per kind |
//! | [`time_bars`] | measured times of the same work on several devices or backends |
//! | [`text_map`], [`text_heat_map`] | circuit map and heat map as text for a terminal |
//!
//! The functions take plain numbers; they do not depend on models or circuits.
//!
//! # Missing values
//! Values that are not finite (or beyond ±1e300) are left out of curves and shown as `n/a` in bar charts. A figure
//! without data shows `no data`. None of the functions panics.
//!
//! # Files
//! [`circuit_map`] and [`heat_map`] write one file, [`text_map`] and [`text_heat_map`] return text. The other functions
//! of the table write `<stem>.svg` and `<stem>.png`; the PNG is rasterised from the SVG. Missing folders are
//! created. Each file is written to a temporary file in the same folder, which is then renamed, so a reader never sees
//! part of a figure.
//!
//! By default, a PNG is at least 1600 pixels wide (a heat map may be narrower). The SVG of the same figure has half the
//! width and height in CSS pixels.
//!
//! # Fonts
//! No system fonts are needed to write a figure. A PNG is drawn with the embedded font DejaVu Sans. An SVG keeps all
//! text as text, in the `sans-serif` font of the viewer.

mod axis;
mod bar_charts;
mod bars;
mod canvas;
mod circuit_map;
mod circuit_share;
mod colour;
mod curves;
mod error;
mod frame;
mod grid;
mod grid_frame;
mod heat_map;
mod legend;
mod map_style;
mod number;
mod output;
mod panel;
mod signed_maps;
mod text;
mod text_map;
mod theme;
mod time_bars;

pub use bar_charts::{BarChart, BarGroup, BarRole, bar_charts};
pub use circuit_map::circuit_map;
pub use circuit_share::{LayerShare, circuit_share};
pub use colour::Colour;
pub use curves::curves;
pub use error::FigureError;
pub use grid::{Cells, CircuitCell, CircuitGrid, GridRow};
pub use heat_map::{HeatPanel, heat_map};
pub use map_style::MapStyle;
pub use number::count;
pub(super) use number::drawable;
pub use output::ImageFormat;
#[cfg(test)]
pub(super) use output::tests::TestFolder;
pub use panel::{Panel, Series};
pub use signed_maps::{SignedPanel, signed_maps};
pub use text_map::{text_heat_map, text_map};
pub use time_bars::{TimePanel, time_bars};
