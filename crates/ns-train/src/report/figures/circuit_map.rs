//! Circuit maps: for each part of a model, a bar that shows how many parameters are in which circuit.

use std::path::Path;

use super::canvas::{Area, Canvas, Drawn, Label};
use super::error::{FigureError, check_number};
use super::frame::{draw_no_data, draw_title};
use super::grid::{Cells, CircuitCell, CircuitGrid, caption};
use super::grid_frame::{GridFrame, GridSpec, MARGIN, MAX_COLUMNS, MAX_ROWS};
use super::legend;
use super::map_style::MapStyle;
use super::output::{ImageFormat, save_as};
use super::text::fitted;
use super::theme::{MUTED, TRACK};

/// Smallest width of a cell, in pixels.
const MIN_CELL_WIDTH: i32 = 92;
/// Text size of the numbers below bars, relative to the size of names.
const NUMBER_SCALE: f64 = 0.72;
/// Half the distance between neighbouring bars, in pixels.
const SIDE: i32 = 5;

/// Draws a circuit map to the file `path`.
///
/// Each cell of `grid` is a bar with the colours of `style`. The percentages of its parameters that are in the circuits
/// are below the bar if rows are tall enough. Without rows, the figure shows `no data`.
///
/// # Errors
/// Returns [`FigureError::TooMany`] for more than 200 rows or 130 columns, [`FigureError::TooSmall`] if the size in
/// `style` is too small for the cells, and [`FigureError::Draw`] or [`FigureError::Write`] if the file cannot be drawn
/// or written.
pub fn circuit_map(
    path: impl AsRef<Path>,
    format: ImageFormat,
    grid: &CircuitGrid,
    style: &MapStyle,
) -> Result<(), FigureError> {
    let path = path.as_ref();
    check_number("rows", grid.rows.len(), MAX_ROWS)?;
    check_number("columns", grid.columns.len(), MAX_COLUMNS)?;
    let map = CircuitMap::new(grid, style);
    map.frame.check(map.size)?;
    save_as(path, format, map.size, |canvas| map.draw(canvas))
}

struct CircuitMap<'a> {
    grid: &'a CircuitGrid,
    style: &'a MapStyle,
    entries: Vec<legend::Entry>,
    frame: GridFrame,
    /// Width and height in pixels.
    size: (i32, i32),
}

impl<'a> CircuitMap<'a> {
    fn new(grid: &'a CircuitGrid, style: &'a MapStyle) -> Self {
        let entries = style.entries(grid.sum().unmasked > 0);
        let legend = legend::height(style.label_size, &entries, style.width() - 2 * MARGIN);
        let caption = if style.legend { number_size(style) * 1.6 } else { 0.0 };
        let bar = match grid.rows.len() {
            0..=2 => 64,
            3..=8 => 44,
            _ => 32,
        };
        let spec = GridSpec {
            columns: &grid.columns,
            rows: grid.rows.iter().map(|row| row.label.as_str()).collect(),
            top: style.title_strip() + legend + caption as i32 + 14,
            cell_width: MIN_CELL_WIDTH,
            widest_cell: i32::MAX,
            row_height: bar + number_strip(style) + 12,
            bottom: style.size.map(|(_, height)| height - MARGIN / 2),
        };
        let frame = GridFrame::new(style, spec);
        let size = style.size.unwrap_or((frame.right + MARGIN, frame.bottom() + MARGIN / 2));
        Self { grid, style, entries, frame, size }
    }

    /// Height of the numbers below a bar; 0 if rows are too low for numbers.
    fn number_strip(&self) -> i32 {
        let strip = number_strip(self.style);
        if self.frame.row_height >= 2 * strip + 4 { strip } else { 0 }
    }

    fn draw_cell(&self, canvas: &mut Canvas<'_>, cell: &CircuitCell, area: Area) -> Drawn {
        let strip = self.number_strip();
        let gap = (self.frame.row_height / 12).clamp(1, 6);
        let side = SIDE.min(area.width() / 8);
        let bar = Area {
            left: area.left + side,
            right: area.right - side,
            top: area.top + gap,
            bottom: area.bottom - strip - gap,
        };
        canvas.fill(bar, TRACK)?;
        let (total, mut before) = (cell.total().max(1) as f64, 0);
        let column = |count: u64| bar.left + (f64::from(bar.width()) * count as f64 / total).round() as i32;
        for (count, colour) in cell.counts().into_iter().zip(self.style.colours()) {
            let (left, right) = (column(before), column(before + count));
            if right > left {
                canvas.fill(Area { left, right, ..bar }, colour.rgb())?;
            }
            before += count;
        }
        if strip == 0 {
            return Ok(());
        }
        let text = cell.percents(self.style.labels.len(), " · ");
        let (text, size) = fitted(&text, number_size(self.style), f64::from(area.width() - 12));
        let at = (bar.centre().0, bar.bottom + strip / 2 + 1);
        canvas.text(&text, at, Label::new(size).centred().coloured(MUTED))
    }

    fn draw_legend(&self, canvas: &mut Canvas<'_>) -> Drawn {
        let (style, top) = (self.style, self.style.title_strip());
        let area = Area::new((MARGIN, top), (self.size.0 - MARGIN, self.size.1));
        legend::draw(style.label_size, canvas, &self.entries, area)?;
        if !style.legend || self.number_strip() == 0 {
            return Ok(());
        }
        let text = caption(&style.labels, " · ");
        let (text, size) = fitted(&text, number_size(style), f64::from(self.size.0 - 2 * MARGIN));
        let below = top + legend::height(style.label_size, &self.entries, style.width() - 2 * MARGIN);
        let at = (MARGIN + 10, below + (number_size(style) * 0.8) as i32);
        canvas.text(&text, at, Label::new(size).coloured(MUTED))
    }

    fn draw(&self, canvas: &mut Canvas<'_>) -> Drawn {
        draw_title(self.style.title_size, canvas, &self.style.title, self.size.0)?;
        self.draw_legend(canvas)?;
        if self.grid.rows.is_empty() {
            return draw_no_data(canvas, self.frame.area());
        }
        for (index, row) in self.grid.rows.iter().enumerate() {
            match &row.cells {
                Cells::Whole(cell) => self.draw_cell(canvas, cell, self.frame.row(index))?,
                Cells::Columns(cells) => {
                    for (column, cell) in cells.iter().enumerate() {
                        if let Some(cell) = cell {
                            self.draw_cell(canvas, cell, self.frame.cell(index, column))?;
                        }
                    }
                }
            }
        }
        self.frame.draw_names(canvas, self.number_strip() / 2)
    }
}

fn number_size(style: &MapStyle) -> f64 {
    NUMBER_SCALE * style.label_size
}

fn number_strip(style: &MapStyle) -> i32 {
    (1.35 * number_size(style)).round() as i32
}

#[cfg(test)]
pub(super) mod tests;
