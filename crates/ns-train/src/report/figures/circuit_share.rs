//! Share of each weight tensor in the circuit, as horizontal bars.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn, Label};
use super::error::{FigureError, check_number};
use super::frame::{BELOW, Frame, draw_no_data};
use super::number::count;
use super::output::save;
use super::text::{fitted, widest, width};
use super::theme::{BLUE, MUTED, TICK, TITLE_STRIP, TRACK, VALUE, WIDTH};

/// Largest number of rows of a legible figure.
const MAX_ROWS: usize = 200;
const MARGIN: i32 = 36;
const GAP: i32 = 18;
/// Smallest width of the bars, in pixels. Long names widen the figure instead.
const MIN_BARS_WIDTH: i32 = 640;
/// Largest width of a name, in pixels. Longer names are cut, so that the size of the image stays bounded.
const MAX_NAME_WIDTH: i32 = 2000;

/// Number of weights of one tensor in the circuit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerShare {
    /// Name of the tensor, such as `transformer.h.0.attn.c_attn`.
    pub name: String,
    /// Number of weights in the circuit.
    pub in_circuit: f64,
    /// Number of all weights of the tensor.
    pub total: f64,
}

impl LayerShare {
    /// Returns the percentage in the circuit, from 0 to 100. It is 0 if the total is zero or a number is not finite.
    fn percent(&self) -> f64 {
        let percent = 100.0 * self.in_circuit / self.total;
        if percent.is_finite() { percent.clamp(0.0, 100.0) } else { 0.0 }
    }

    fn counts(&self) -> String {
        format!("{} / {}", count(self.in_circuit), count(self.total))
    }
}

/// Draws one horizontal bar per tensor, in the order of `layers`, to `<folder>/<stem>.svg` and `<folder>/<stem>.png`.
///
/// The figure grows with the names and the number of tensors; only names of more than about 200 letters are cut.
/// Without tensors, the figure shows `no data`.
///
/// # Errors
/// Returns [`FigureError::TooMany`] for more than 200 tensors, [`FigureError::InvalidStem`] if the stem is not a file
/// name, and [`FigureError::Draw`] or [`FigureError::Write`] if a file cannot be drawn or written.
pub fn circuit_share(
    folder: impl AsRef<Path>,
    stem: &str,
    title: &str,
    layers: &[LayerShare],
) -> Result<(), FigureError> {
    let folder = folder.as_ref();
    check_number("tensors", layers.len(), MAX_ROWS)?;
    let layout = Layout::new(layers);
    let size = (layout.bars.right + GAP + layout.numbers_width + MARGIN, layout.bars.bottom + BELOW + 14);
    save(folder, stem, title, size, |canvas| {
        let frame = Frame { area: layout.bars, x: Axis::new(0.0, 100.0), y: Axis::UNIT };
        frame.draw_x(canvas, "share of the weights in the circuit (%)")?;
        if layers.is_empty() {
            draw_no_data(canvas, frame.area)?;
        }
        for (index, layer) in (0..).zip(layers) {
            layout.draw_row(canvas, layer, frame.area.top + layout.row_height * index, &frame)?;
        }
        frame.draw_spines(canvas)
    })
}

/// Positions and sizes of the parts of the figure, in pixels.
struct Layout {
    /// The area of the bars.
    bars: Area,
    row_height: i32,
    text_size: f64,
    percent_width: i32,
    /// Width of percentages and counts.
    numbers_width: i32,
}

impl Layout {
    fn new(layers: &[LayerShare]) -> Self {
        // Rows are taller if there are few of them.
        let row_height = match layers.len() {
            0..=2 => 120,
            3..=16 => 52,
            17..=30 => 40,
            _ => 32,
        };
        let text_size = if row_height > 40 { TICK } else { VALUE + 1.0 };
        let percent_width = width("100.0%", text_size).ceil() as i32;
        let counts: Vec<String> = layers.iter().map(LayerShare::counts).collect();
        let numbers_width = percent_width + 2 * GAP + widest(counts.iter().map(String::as_str), text_size);
        let names = widest(layers.iter().map(|layer| layer.name.as_str()), text_size);
        let left = MARGIN + names.min(MAX_NAME_WIDTH) + GAP;
        let right = (WIDTH - MARGIN - numbers_width - GAP).max(left + MIN_BARS_WIDTH);
        let bottom = TITLE_STRIP + row_height * layers.len().max(1) as i32;
        Self {
            bars: Area::new((left, TITLE_STRIP), (right, bottom)),
            row_height,
            text_size,
            percent_width,
            numbers_width,
        }
    }

    fn draw_row(&self, canvas: &mut Canvas<'_>, layer: &LayerShare, top: i32, frame: &Frame) -> Drawn {
        let area = self.bars;
        let middle = top + self.row_height / 2;
        let thickness = self.row_height * 3 / 10;
        let bar = |right| Area::new((area.left, middle - thickness), (right, middle + thickness));
        canvas.fill(bar(area.right), TRACK)?;
        canvas.fill(bar(frame.column(layer.percent())), BLUE)?;
        let label = Label::new(self.text_size).ending();
        let (name, size) = fitted(&layer.name, label.size, f64::from(MAX_NAME_WIDTH));
        canvas.text(&name, (area.left - GAP, middle), Label { size, ..label })?;
        let percent = (area.right + GAP + self.percent_width, middle);
        canvas.text(&format!("{:.1}%", layer.percent()), percent, label)?;
        let counts = (area.right + GAP + self.numbers_width, middle);
        canvas.text(&layer.counts(), counts, label.coloured(MUTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::output::tests::TestFolder;

    fn layer(name: &str, in_circuit: f64, total: f64) -> LayerShare {
        LayerShare { name: name.to_owned(), in_circuit, total }
    }

    #[test]
    fn shows_names_counts_and_shares() -> Result<(), FigureError> {
        let folder = TestFolder::new("share");
        let layers =
            [layer("transformer.h.0.attn.c_attn", 19_712.0, 49_152.0), layer("transformer.h.0.mlp.c_fc", 0.0, 0.0)];
        circuit_share(folder.path(), "share", "Circuit", &layers)?;
        let svg = folder.svg("share");
        for text in ["transformer.h.0.attn.c_attn", "19,712 / 49,152", "40.1%", "0 / 0", "0.0%"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(folder.png_size("share").0, 1600);
        Ok(())
    }

    #[test]
    fn bad_numbers_are_no_share() {
        let cases = [(5.0, 0.0), (f64::NAN, 4.0), (1.0, f64::NAN), (f64::INFINITY, 2.0), (-3.0, 4.0)];
        for (in_circuit, total) in cases {
            assert_eq!(layer("", in_circuit, total).percent(), 0.0, "{in_circuit} / {total}");
        }
        assert_eq!(layer("", 9.0, 4.0).percent(), 100.0);
    }

    #[test]
    fn long_names_and_many_layers_fit() -> Result<(), FigureError> {
        let folder = TestFolder::new("share-long");
        let name = "model.encoder.layers.11.attention.output.dense.weight.".repeat(3);
        let layers = vec![layer(&name, 1.0, f64::NAN); 50];
        circuit_share(folder.path(), "long", "Circuit", &layers)?;
        let (width, height) = folder.png_size("long");
        assert!(width > 2000 && height > 1600);
        circuit_share(folder.path(), "none", "Circuit", &[])?;
        assert!(folder.svg("none").contains("no data"));
        let many = circuit_share(folder.path(), "many", "Circuit", &vec![layer("", 1.0, 2.0); 201]);
        assert!(matches!(many, Err(FigureError::TooMany { found: 201, limit: 200, .. })));
        Ok(())
    }
}
