//! The figures of an experiment, each written as `<stem>.svg` and `<stem>.png`.
//!
//! | function | shows |
//! |---|---|
//! | [`training_curves`] | loss and L0 of a circuit search over the epochs |
//! | [`curves`] | any named series over the epochs, one panel a quantity |
//! | [`probe_bars`] | 1-NN accuracy of each circuit and what ablating it does to the model |
//! | [`circuit_share`] | share of each weight tensor that is in the circuit |
//! | [`circuit_map`] | one or two circuits over the parts of a model, a bar a part |
//! | [`heat_map`] | share of each head of each layer that is in a circuit |
//! | [`time_bars`] | what the same work costs in different places |
//! | [`text_map`], [`text_heat_map`] | the same two for a terminal |
//!
//! The functions take plain numbers and know nothing of models or circuits.
//! Both files come from the same drawing code, so they always show the same.
//!
//! # Bad data
//! Values that are not finite (or beyond ±1e300) are left out of a curve and shown as `n/a` in a bar chart.
//! An empty input gives a figure that says `no data`; nothing here panics.
//!
//! # Files
//! The folder is created if it is missing. Each file is written under a temporary name in the same folder and then
//! renamed, so that a reader never sees half a figure.
//! The PNG is 1600 pixels wide or more, the SVG half of that in CSS pixels (the same drawing).
//!
//! # Fonts
//! No system font is needed: the PNG is drawn with the embedded DejaVu Sans, the SVG asks the viewer for its
//! `sans-serif` font and keeps all text as text.

mod axis;
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
mod probe_bars;
mod text;
mod text_map;
mod theme;
mod time_bars;
mod training;

pub use circuit_map::circuit_map;
pub use circuit_share::{LayerShare, circuit_share};
pub use colour::Colour;
pub use curves::curves;
pub use error::FigureError;
pub use grid::{Cells, CircuitCell, CircuitGrid, GridRow};
pub use heat_map::{HeatPanel, heat_map};
pub use map_style::MapStyle;
pub(crate) use number::count;
pub use output::ImageFormat;
pub use panel::{Panel, Series};
pub use probe_bars::{ProbeBar, probe_bars};
pub use text_map::{text_heat_map, text_map};
pub use time_bars::{TimePanel, time_bars};
pub use training::{EpochPoint, training_curves};
