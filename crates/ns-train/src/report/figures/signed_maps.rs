//! Heat maps of numbers of both signs, such as the shares that activation patching restores.

use std::path::Path;

use plotters::style::RGBColor;

use super::canvas::{Area, Canvas, Drawn, Label};
use super::colour::{Colour, ink_on};
use super::error::{FigureError, check_number};
use super::frame::draw_no_data;
use super::grid_frame::{GridFrame, GridSpec, MARGIN, MAX_COLUMNS, MAX_ROWS};
use super::map_style::MapStyle;
use super::number::drawable;
use super::output::save;
use super::text::{fitted, wrapped};
use super::theme::{BLUE, GRID, MUTED, NAME, TICK, TITLE_STRIP, TRACK, VERMILION};

/// Smallest and largest width of a cell, in pixels.
const CELL_WIDTH: [i32; 2] = [44, 150];
/// Narrower cells have no number.
const NUMBER_WIDTH: i32 = 58;
/// Height of a row, in pixels.
const ROW_HEIGHT: i32 = 40;
/// Height of the name of a panel, and of the space below the panel, in pixels.
const NAME_STRIP: i32 = 44;
const BELOW: i32 = 26;
/// Height of the strip with the colour scale, in pixels.
const SCALE_STRIP: i32 = 90;
/// Distance between two lines of the caption, in pixels.
const LINE: i32 = 28;
/// Width of the colour scale, in pixels, and number of its colours.
const SCALE_WIDTH: i32 = 420;
const SCALE_STEPS: i32 = 105;
/// Possible ends of the colour scale. It ends at the first value that no value is beyond, or at the last.
const SCALE_ENDS: [f64; 6] = [0.1, 0.2, 0.5, 1.0, 1.5, 2.0];

/// Values in rows and columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SignedPanel {
    /// What the values are of.
    pub name: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Name of each row, and one value per column; `None` where there is no value.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

/// Draws `panels` from top to bottom to `<folder>/<stem>.svg` and `<folder>/<stem>.png`. The colour scale is centred at 0,
/// and all panels share it. `caption` says what the values are.
///
/// Values that are not finite are shown as missing. Without rows the figure shows `no data`.
///
/// # Errors
/// Returns [`FigureError::TooMany`] for more than 200 rows in all panels or more than 130 columns,
/// [`FigureError::InvalidStem`] if the stem is not a file name, and [`FigureError::Draw`] or [`FigureError::Write`] if a
/// file cannot be drawn or written.
pub fn signed_maps(
    folder: impl AsRef<Path>,
    stem: &str,
    title: &str,
    caption: &str,
    panels: &[SignedPanel],
) -> Result<(), FigureError> {
    check_number("rows", panels.iter().map(|panel| panel.rows.len()).sum(), MAX_ROWS)?;
    check_number("columns", panels.iter().map(|panel| panel.columns.len()).max().unwrap_or(0), MAX_COLUMNS)?;
    let maps = SignedMaps::new(panels, caption);
    save(folder.as_ref(), stem, title, maps.size, |canvas| maps.draw(canvas))
}

struct SignedMaps<'a> {
    panels: &'a [SignedPanel],
    caption: &'a str,
    frames: Vec<GridFrame>,
    size: (i32, i32),
    /// The size of the values with the darkest colours.
    scale_end: f64,
}

impl<'a> SignedMaps<'a> {
    fn new(panels: &'a [SignedPanel], caption: &'a str) -> Self {
        let (mut top, mut frames) = (TITLE_STRIP, Vec::<GridFrame>::new());
        for panel in panels {
            let spec = GridSpec {
                columns: &panel.columns,
                rows: panel.rows.iter().map(|(label, _)| label.as_str()).collect(),
                top: top + NAME_STRIP,
                cell_width: CELL_WIDTH[0],
                widest_cell: CELL_WIDTH[1],
                row_height: ROW_HEIGHT,
                bottom: None,
            };
            let frame = GridFrame::new(&style(), spec);
            top = frame.bottom() + BELOW;
            frames.push(frame);
        }
        let left = frames.iter().map(|frame| frame.left).max().unwrap_or(MARGIN);
        frames.iter_mut().for_each(|frame| frame.start_at(left));
        let width = frames.iter().map(|frame| frame.right).max().unwrap_or(0).max(3 * SCALE_WIDTH) + MARGIN;
        Self { panels, caption, frames, size: (width, top + SCALE_STRIP), scale_end: scale_end(panels) }
    }

    fn draw(&self, canvas: &mut Canvas<'_>) -> Drawn {
        for (panel, frame) in self.panels.iter().zip(&self.frames) {
            self.draw_panel(canvas, panel, frame)?;
        }
        if self.panels.is_empty() {
            draw_no_data(canvas, Area::new((0, TITLE_STRIP - NAME_STRIP), (self.size.0, TITLE_STRIP)))?;
        }
        self.draw_scale(canvas)
    }

    fn draw_panel(&self, canvas: &mut Canvas<'_>, panel: &SignedPanel, frame: &GridFrame) -> Drawn {
        for (row, (_, values)) in panel.rows.iter().enumerate() {
            for (column, value) in values.iter().enumerate().take(panel.columns.len()) {
                self.draw_cell(canvas, frame.cell(row, column), value.filter(|value| drawable(*value)))?;
            }
        }
        if panel.rows.is_empty() {
            draw_no_data(canvas, frame.area())?;
        }
        frame.draw_names(canvas, 0)?;
        let (name, size) = fitted(&panel.name, NAME, f64::from(self.size.0 - 2 * MARGIN));
        canvas.text(&name, (MARGIN, frame.names_top() - NAME_STRIP / 2), Label::new(size))
    }

    fn draw_cell(&self, canvas: &mut Canvas<'_>, area: Area, value: Option<f64>) -> Drawn {
        let wide = area.width() >= NUMBER_WIDTH;
        let shade = value.map(|value| shade(value / self.scale_end));
        canvas.fill(area, GRID)?;
        let inner = Area { left: area.left + 1, top: area.top + 1, right: area.right - 1, bottom: area.bottom - 1 };
        canvas.fill(inner, shade.map_or(TRACK, Colour::rgb))?;
        let ink = ink_on(shade);
        if !wide {
            return Ok(());
        }
        let (text, size) = fitted(&value.map_or("–".into(), number), TICK * 0.9, f64::from(area.width() - 4));
        canvas.text(&text, area.centre(), Label::new(size).centred().coloured(ink))
    }

    fn draw_scale(&self, canvas: &mut Canvas<'_>) -> Drawn {
        let left = self.frames.first().map_or(MARGIN, |frame| frame.left);
        let (top, step) = (self.size.1 - SCALE_STRIP + 14, SCALE_WIDTH / SCALE_STEPS);
        for index in 0..SCALE_STEPS {
            let value = 2.0 * f64::from(index) / f64::from(SCALE_STEPS - 1) - 1.0;
            let area = Area::new((left + index * step, top), (left + (index + 1) * step, top + 22));
            canvas.fill(area, shade(value).rgb())?;
        }
        for share in [0.0, 0.5, 1.0] {
            let x = left + (f64::from(SCALE_WIDTH) * share) as i32;
            let text = number((2.0 * share - 1.0) * self.scale_end);
            canvas.text(&text, (x, top + 42), Label::new(TICK * 0.85).centred().coloured(MUTED))?;
        }
        self.draw_caption(canvas, (left + SCALE_WIDTH + 40, top + 11))
    }

    /// Draws the caption to the right of the colour scale, in lines.
    fn draw_caption(&self, canvas: &mut Canvas<'_>, (left, middle): (i32, i32)) -> Drawn {
        let (size, room) = (TICK * 0.9, f64::from(self.size.0 - left - MARGIN / 2));
        for (line, text) in (0..).zip(wrapped(self.caption, size, room)) {
            let (text, size) = fitted(text.trim_end(), size, room);
            canvas.text(&text, (left, middle + line * LINE), Label::new(size).coloured(MUTED))?;
        }
        Ok(())
    }
}

/// Text sizes of the frames. They use nothing else of a style.
fn style() -> MapStyle {
    let white = Colour::new(255, 255, 255);
    MapStyle {
        title: String::new(),
        labels: Vec::new(),
        circuits: [white; 2],
        both: white,
        unused: white,
        unmasked: white,
        opacity: 1.0,
        title_size: NAME,
        label_size: TICK,
        size: None,
        legend: false,
    }
}

/// The end of the colour scale.
fn scale_end(panels: &[SignedPanel]) -> f64 {
    let values = panels.iter().flat_map(|panel| &panel.rows).flat_map(|(_, values)| values.iter().flatten());
    let largest = values.filter(|value| drawable(**value)).fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let last = SCALE_ENDS[SCALE_ENDS.len() - 1];
    // A little more than 1 is common where all is restored.
    SCALE_ENDS.into_iter().find(|end| largest <= 1.1 * end).unwrap_or(last)
}

/// The colour of a position on the scale, from −1 to 1: vermilion below 0, white at 0, blue above.
fn shade(position: f64) -> Colour {
    let RGBColor(red, green, blue) = if position < 0.0 { VERMILION } else { BLUE };
    Colour::new(red, green, blue).over(Colour::new(255, 255, 255), position.abs().min(1.0))
}

/// A value with two decimals; `0` for what rounds to it.
fn number(value: f64) -> String {
    let text = format!("{:.2}", value.abs());
    match (text.as_str(), value < 0.0) {
        ("0.00", _) => "0".into(),
        (_, true) => format!("−{text}"),
        (_, false) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::output::tests::TestFolder;

    fn panel(columns: usize) -> SignedPanel {
        let row = |layer: usize| {
            let value = |column: usize| (column != 1).then_some((layer as f64 - 3.0) * column as f64 / 10.0);
            (format!("layer {layer}"), (0..columns).map(value).collect())
        };
        let columns = (0..columns).map(|column| format!("w{column}")).collect();
        SignedPanel { name: "update of attention".into(), columns, rows: (0..6).map(row).collect() }
    }

    #[test]
    fn shows_signs_and_what_is_missing() -> Result<(), FigureError> {
        let folder = TestFolder::new("signed");
        signed_maps(folder.path(), "patch", "Patching", "share that is restored", &[panel(5), panel(5)])?;
        let svg = folder.svg("patch");
        for text in ["layer 5", "w4", "update of attention", "−1.20", "0.80", "–", "share that is restored", "Patching"]
        {
            assert!(svg.contains(text), "{text}");
        }
        assert!(folder.png_size("patch").1 > 600);
        Ok(())
    }

    #[test]
    fn many_columns_have_no_numbers_and_too_many_are_refused() -> Result<(), FigureError> {
        let folder = TestFolder::new("signed-size");
        let narrow = SignedPanel { columns: vec!["w".into(); 60], ..panel(60) };
        signed_maps(folder.path(), "wide", "", "", &[narrow])?;
        assert!(!folder.svg("wide").contains("−1.20"));
        let refused = signed_maps(folder.path(), "wider", "", "", &[panel(131)]);
        assert!(matches!(refused, Err(FigureError::TooMany { what: "columns", .. })), "{refused:?}");
        signed_maps(folder.path(), "none", "", "", &[])?;
        assert!(folder.svg("none").contains("no data"));
        Ok(())
    }

    #[test]
    fn the_scale_is_centred_at_zero() {
        assert_eq!(shade(0.0), Colour::new(255, 255, 255));
        assert_eq!([shade(1.0), shade(3.0)], [Colour::new(0, 114, 178); 2]);
        assert_eq!(shade(-1.0), Colour::new(213, 94, 0));
        let end = |value: f64| {
            scale_end(&[SignedPanel { rows: vec![(String::new(), vec![Some(value), None])], ..SignedPanel::default() }])
        };
        assert_eq!([0.0, -0.3, 1.05, -1.4, 7.0, f64::NAN].map(end), [0.1, 0.5, 1.0, 1.5, 2.0, 0.1]);
        assert_eq!([0.0, -0.004, 0.014, -2.5].map(number), ["0", "0", "0.01", "−2.50"]);
    }
}
