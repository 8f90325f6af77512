//! Layout of the cells of circuit maps and heat maps, with the names of rows and columns.

use super::canvas::{Area, Canvas, Drawn, Label};
use super::error::FigureError;
use super::map_style::MapStyle;
use super::text::{fitted, widest, width, wrapped};

/// Distance from the edges of the figure, in pixels.
pub(super) const MARGIN: i32 = 36;
/// Distance between names and cells, and between neighbouring column names, in pixels.
const GAP: i32 = 16;
/// Smallest width and height of a cell, in pixels.
const MIN_CELL: i32 = 14;
/// Longer column names are broken into lines.
const MAX_HEADING_WIDTH: i32 = 190;
/// Longer row names are broken into lines.
const MAX_LABEL_WIDTH: i32 = 330;
/// Height of a line of names, in em.
const LINE: f64 = 1.22;
/// Largest number of rows of a legible figure.
pub(super) const MAX_ROWS: usize = 200;
/// Largest number of columns of a legible figure.
pub(super) const MAX_COLUMNS: usize = 130;

/// Positions of the cells, row names and column names of a grid, in pixels.
pub(super) struct GridFrame {
    /// Lines of each row name.
    labels: Vec<Vec<String>>,
    /// Lines of each column name.
    headings: Vec<Vec<String>>,
    label_size: f64,
    heading_size: f64,
    pub(super) left: i32,
    /// Upper edge of the column names.
    names_top: i32,
    /// Upper edge of the cells.
    top: i32,
    pub(super) right: i32,
    cell_width: f64,
    pub(super) row_height: i32,
}

/// Content and size limits of a [`GridFrame`]. Sizes are in pixels.
pub(super) struct GridSpec<'a> {
    /// Column names.
    pub(super) columns: &'a [String],
    /// Row names.
    pub(super) rows: Vec<&'a str>,
    /// Upper edge, including the column names.
    pub(super) top: i32,
    /// Smallest width of a column, including the distance to the next column. Long column names widen it.
    pub(super) cell_width: i32,
    /// Largest width of a cell.
    pub(super) widest_cell: i32,
    /// Height of a row if `bottom` is `None`.
    pub(super) row_height: i32,
    /// Lower edge, if the size of the figure is fixed.
    pub(super) bottom: Option<i32>,
}

impl GridFrame {
    /// Computes the layout.
    pub(super) fn new(style: &MapStyle, spec: GridSpec<'_>) -> Self {
        let size = style.label_size;
        let broken = |text: &str, room: i32| wrapped(text, size, f64::from(room));
        let labels: Vec<_> = spec.rows.iter().map(|label| broken(label, MAX_LABEL_WIDTH)).collect();
        let (columns, fixed) = (spec.columns.len().max(1) as i32, style.size.is_some());
        let mut left = MARGIN + widest(labels.iter().flatten().map(String::as_str), size) + GAP;
        if fixed {
            left = left.min(style.width() * 3 / 10);
        }
        let longest = widest(spec.columns.iter().map(String::as_str), size).min(MAX_HEADING_WIDTH);
        let needed = left + columns * (longest + GAP).max(spec.cell_width) + MARGIN;
        let right = if fixed { style.width() } else { style.width().max(needed) } - MARGIN;
        let cell_width = (f64::from(right - left) / f64::from(columns)).min(f64::from(spec.widest_cell));
        let headings: Vec<_> = spec.columns.iter().map(|name| broken(name, cell_width as i32 - GAP)).collect();
        let lines = headings.iter().map(Vec::len).max().unwrap_or(0);
        let names_top = spec.top;
        let top = names_top + if lines == 0 { 0 } else { (lines as f64 * LINE * size) as i32 + 10 };
        let rows = spec.rows.len().max(1) as i32;
        let row_height = spec.bottom.map_or(spec.row_height, |bottom| (bottom - top) / rows);
        let right = left + (cell_width * f64::from(columns)).round() as i32;
        let label_size = size.min(f64::from(row_height) * 0.8);
        Self { labels, headings, label_size, heading_size: size, left, names_top, top, right, cell_width, row_height }
    }

    /// Checks that the cells are large enough to be visible.
    ///
    /// # Errors
    /// Returns [`FigureError::TooSmall`] with the size of the figure if they are too small.
    pub(super) fn check(&self, (width, height): (i32, i32)) -> Result<(), FigureError> {
        if self.row_height < MIN_CELL || self.cell_width < f64::from(MIN_CELL) || self.left > self.right {
            let (rows, columns) = (self.labels.len(), self.headings.len().max(1));
            return Err(FigureError::TooSmall { width, height, rows, columns });
        }
        Ok(())
    }

    /// Moves the cells to the right, so that they start at `left`.
    pub(super) fn start_at(&mut self, left: i32) {
        (self.left, self.right) = (left, self.right + left - self.left);
    }

    /// Returns the upper edge of the column names.
    pub(super) fn names_top(&self) -> i32 {
        self.names_top
    }

    pub(super) fn bottom(&self) -> i32 {
        self.top + self.row_height * self.labels.len().max(1) as i32
    }

    /// Returns the area of all cells.
    pub(super) fn area(&self) -> Area {
        Area::new((self.left, self.top), (self.right, self.bottom()))
    }

    /// Returns the area of one cell.
    pub(super) fn cell(&self, row: usize, column: usize) -> Area {
        let edge = |column: usize| self.left + (self.cell_width * column as f64).round() as i32;
        Area { left: edge(column), right: edge(column + 1), ..self.row(row) }
    }

    /// Returns the area of all cells in a row.
    pub(super) fn row(&self, row: usize) -> Area {
        let top = self.top + self.row_height * row as i32;
        Area::new((self.left, top), (self.right, top + self.row_height))
    }

    /// Draws the names of rows and columns. Row names are centred `raise` pixels above the centres of their cells.
    pub(super) fn draw_names(&self, canvas: &mut Canvas<'_>, raise: i32) -> Drawn {
        for (row, lines) in self.labels.iter().enumerate() {
            let middle = self.row(row).centre().1 - raise;
            let room = f64::from(self.left - GAP - MARGIN / 2);
            let label = Label::new(self.label_size).ending();
            draw_lines(canvas, lines, (self.left - GAP, middle), label, room)?;
        }
        for (column, lines) in self.headings.iter().enumerate() {
            let (x, _) = self.cell(0, column).centre();
            let middle = f64::from(self.top) - 10.0 - LINE * self.heading_size * lines.len() as f64 / 2.0;
            let label = Label::new(self.heading_size).centred();
            draw_lines(canvas, lines, (x, middle.round() as i32), label, self.cell_width - 6.0)?;
        }
        Ok(())
    }
}

/// Draws lines of text that are vertically centred on `middle` and made to fit a width of `room` pixels.
fn draw_lines(canvas: &mut Canvas<'_>, lines: &[String], (x, middle): (i32, i32), label: Label, room: f64) -> Drawn {
    let needed = lines.iter().map(|line| width(line.trim_end(), label.size)).fold(0.0, f64::max);
    let size = label.size * (room / needed.max(1.0)).clamp(0.65, 1.0);
    let step = LINE * size;
    for (index, line) in lines.iter().enumerate() {
        let y = f64::from(middle) + step * (index as f64 - (lines.len() as f64 - 1.0) / 2.0);
        let (line, size) = fitted(line.trim_end(), size, room);
        canvas.text(&line, (x, y.round() as i32), Label { size, ..label })?;
    }
    Ok(())
}
