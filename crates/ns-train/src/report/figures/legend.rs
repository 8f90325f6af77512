//! A legend in a strip of its own above a plot, so that it never covers data.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

use super::canvas::{Area, Canvas, Drawn, Label, Point};
use super::text::{fitted, width};
use super::theme::{INK, NAME};

/// Height of one line of a legend, in em.
const LINE: f64 = 1.52;
/// Width of the sign before a name.
const SIGN: i32 = 40;
const SIGN_GAP: i32 = 10;
const ENTRY_GAP: i32 = 36;

/// How the thing that an entry names is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sign {
    /// A curve.
    Line,
    /// A reference line.
    Dashes,
    /// A bar.
    Bar,
    /// A mark across bars.
    Mark,
}

/// One name of a legend.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) sign: Sign,
    pub(super) colour: RGBColor,
}

impl Entry {
    pub(super) fn new(name: &str, sign: Sign, colour: RGBColor) -> Self {
        Self { name: name.to_owned(), sign, colour }
    }
}

/// Height of the strip that `entries` need at this `room` of pixels.
pub(super) fn height(entries: &[Entry], room: i32) -> i32 {
    height_at(NAME, entries, room)
}

/// The same for text of another size.
pub(super) fn height_at(size: f64, entries: &[Entry], room: i32) -> i32 {
    places(size, entries, room).last().map_or(0, |&(_, y)| y + line(size))
}

fn line(size: f64) -> i32 {
    (LINE * size).round() as i32
}

/// Draws `entries` into lines from the upper left corner of `area` on.
pub(super) fn draw<B: DrawingBackend>(canvas: &mut Canvas<B>, entries: &[Entry], area: Area) -> Drawn<B> {
    draw_at(NAME, canvas, entries, area)
}

/// The same with text of another size.
pub(super) fn draw_at<B: DrawingBackend>(size: f64, canvas: &mut Canvas<B>, entries: &[Entry], area: Area) -> Drawn<B> {
    for (entry, (x, y)) in entries.iter().zip(places(size, entries, area.width())) {
        let (left, middle) = (area.left + x, area.top + y + line(size) / 2);
        draw_sign(canvas, entry, left, middle)?;
        let (name, size) = fitted(&entry.name, size, name_room(area.width()));
        canvas.text(&name, (left + SIGN + SIGN_GAP, middle), Label::new(size))?;
    }
    Ok(())
}

fn draw_sign<B: DrawingBackend>(canvas: &mut Canvas<B>, entry: &Entry, left: i32, middle: i32) -> Drawn<B> {
    let span = (left, left + SIGN);
    match entry.sign {
        Sign::Line => canvas.across(span, middle, 4, entry.colour),
        Sign::Dashes => canvas.dashes((left + 4, left + SIGN), middle, entry.colour),
        Sign::Mark => canvas.across(span, middle, 3, INK),
        Sign::Bar => canvas.fill(Area::new((left + 10, middle - 12), (left + SIGN, middle + 12)), entry.colour),
    }
}

/// The upper left corner of every entry, within a strip of `room` pixels.
fn places(size: f64, entries: &[Entry], room: i32) -> Vec<Point> {
    let (mut x, mut y) = (0, 0);
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = width(&entry.name, size).min(name_room(room)).ceil() as i32;
        let needed = SIGN + SIGN_GAP + name;
        if x > 0 && x + needed > room {
            (x, y) = (0, y + line(size));
        }
        places.push((x, y));
        x += needed + ENTRY_GAP;
    }
    places
}

fn name_room(room: i32) -> f64 {
    f64::from(room - SIGN - SIGN_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::theme::BLUE;

    #[test]
    fn entries_wrap_when_the_line_is_full() {
        let entries = vec![Entry::new("train loss", Sign::Line, BLUE); 5];
        assert_eq!(height(&entries, 2000), 38);
        assert_eq!(height(&entries, 300), 5 * 38);
        assert_eq!(height(&[], 300), 0);
    }
}
