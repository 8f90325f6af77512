//! Legends, drawn in a separate strip above a plot so that they never cover data.

use plotters::style::RGBColor;

use super::canvas::{Area, Canvas, Drawn, Label, Point};
use super::text::{fitted, width};
use super::theme::INK;

/// Height of a line of a legend, in em.
const LINE: f64 = 1.52;
/// Width of the symbol before a name, in pixels.
const SYMBOL: i32 = 40;
const SYMBOL_GAP: i32 = 10;
const ENTRY_GAP: i32 = 36;

/// The symbol of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Symbol {
    /// A line, for a curve.
    Line,
    /// A thin line, for the controls of curves.
    Thin,
    /// A dashed line, for a reference value.
    Dashes,
    /// A filled rectangle, for a bar.
    Bar,
    /// A line in text colour, for a mark across bars.
    Mark,
}

/// An entry of a legend.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) symbol: Symbol,
    pub(super) colour: RGBColor,
}

impl Entry {
    pub(super) fn new(name: &str, symbol: Symbol, colour: RGBColor) -> Self {
        Self { name: name.to_owned(), symbol, colour }
    }
}

/// Returns the height of the legend in pixels, for text of the given size, if `room` pixels are available for its
/// width.
pub(super) fn height(size: f64, entries: &[Entry], room: i32) -> i32 {
    positions(size, entries, room).last().map_or(0, |&(_, y)| y + line(size))
}

fn line(size: f64) -> i32 {
    (LINE * size).round() as i32
}

/// Draws `entries` in lines, with text of the given size, from the upper left corner of `area`.
pub(super) fn draw(size: f64, canvas: &mut Canvas<'_>, entries: &[Entry], area: Area) -> Drawn {
    for (entry, (x, y)) in entries.iter().zip(positions(size, entries, area.width())) {
        let (left, middle) = (area.left + x, area.top + y + line(size) / 2);
        draw_symbol(canvas, entry, left, middle)?;
        let (name, size) = fitted(&entry.name, size, name_room(area.width()));
        canvas.text(&name, (left + SYMBOL + SYMBOL_GAP, middle), Label::new(size))?;
    }
    Ok(())
}

fn draw_symbol(canvas: &mut Canvas<'_>, entry: &Entry, left: i32, middle: i32) -> Drawn {
    let span = (left, left + SYMBOL);
    match entry.symbol {
        Symbol::Line => canvas.across(span, middle, 4, entry.colour),
        Symbol::Thin => canvas.across(span, middle, 2, entry.colour),
        Symbol::Dashes => canvas.dashes((left + 4, left + SYMBOL), middle, entry.colour),
        Symbol::Mark => canvas.across(span, middle, 3, INK),
        Symbol::Bar => canvas.fill(Area::new((left + 10, middle - 12), (left + SYMBOL, middle + 12)), entry.colour),
    }
}

/// Returns the upper left corner of each entry in a strip of `room` pixels width.
fn positions(size: f64, entries: &[Entry], room: i32) -> Vec<Point> {
    let (mut x, mut y) = (0, 0);
    let mut positions = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = width(&entry.name, size).min(name_room(room)).ceil() as i32;
        let needed = SYMBOL + SYMBOL_GAP + name;
        if x > 0 && x + needed > room {
            (x, y) = (0, y + line(size));
        }
        positions.push((x, y));
        x += needed + ENTRY_GAP;
    }
    positions
}

fn name_room(room: i32) -> f64 {
    f64::from(room - SYMBOL - SYMBOL_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::theme::{BLUE, NAME};

    #[test]
    fn entries_wrap_when_the_line_is_full() {
        let entries = vec![Entry::new("train loss", Symbol::Line, BLUE); 5];
        assert_eq!(height(NAME, &entries, 2000), 38);
        assert_eq!(height(NAME, &entries, 300), 5 * 38);
        assert_eq!(height(NAME, &[], 300), 0);
    }
}
