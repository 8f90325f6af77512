//! Measuring and rasterising text with the embedded font.
//!
//! Deviation from plotters: its `ab_glyph` text drawing drops the left bearing of every glyph, so that `l`, `i` and `1`
//! stick to the letter before them. [`rasterise`] draws glyph by glyph and centres each in its advance instead.

use std::convert::Infallible;
use std::sync::LazyLock;

use plotters::style::{FontDesc, FontError, FontFamily, FontStyle, register_font};

/// Name under which the font is registered with plotters; private, so that no other user of plotters is affected.
const FAMILY: &str = "ns-figures DejaVu Sans";
/// plotters measures a font by ascent plus descent, which is this many em in DejaVu Sans.
const HEIGHT_PER_EM: f64 = 1.164;
/// Height of a capital letter in DejaVu Sans, in em.
const CAPITAL_HEIGHT: f64 = 0.729;
/// Text is measured this much larger than drawn, since plotters rounds widths down to whole pixels.
const MEASURE_SCALE: f64 = 32.0;
/// The smallest part of the wished size that [`fitted`] still takes for legible.
const LEGIBLE: f64 = 0.65;

static REGISTERED: LazyLock<bool> =
    LazyLock::new(|| register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular()).is_ok());

/// One pixel of a text: offset from the anchor and how much of the pixel is covered (0 to 1).
pub(super) type InkPixel = (i32, i32, f32);

/// Width of `text` at `size` pixels an em.
pub(super) fn width(text: &str, size: f64) -> f64 {
    match font(size * MEASURE_SCALE).layout_box(text) {
        Ok((_, (right, _))) => f64::from(right) / MEASURE_SCALE,
        // Only an unreadable font comes here; the drawing then fails with that error.
        Err(_) => 0.6 * size * text.chars().count() as f64,
    }
}

/// The width of the widest of `texts`, rounded up.
pub(super) fn widest<'a>(texts: impl IntoIterator<Item = &'a str>, size: f64) -> i32 {
    texts.into_iter().map(|text| width(text, size).ceil() as i32).max().unwrap_or(0)
}

/// `text` made to fit `room` pixels: first smaller (down to 65 %), then cut with an ellipsis.
pub(super) fn fitted(text: &str, size: f64, room: f64) -> (String, f64) {
    let needed = width(text, size);
    if needed <= room {
        return (text.to_owned(), size);
    }
    let smaller = (size * room / needed).max(size * LEGIBLE);
    if width(text, smaller) <= room + 1.0 {
        return (text.to_owned(), smaller);
    }
    (cut(text, smaller, room), smaller)
}

/// The longest beginning of `text` that fits `room` pixels together with an ellipsis.
fn cut(text: &str, size: f64, room: f64) -> String {
    let mut kept = String::new();
    let mut used = width("…", size);
    for letter in text.chars() {
        used += width(letter.encode_utf8(&mut [0; 4]), size);
        if used > room {
            break;
        }
        kept.push(letter);
    }
    kept + "…"
}

/// `text` in lines of `room` pixels, broken after spaces and dots, and where that is not enough after underscores.
pub(super) fn wrapped(text: &str, size: f64, room: f64) -> Vec<String> {
    let fits = |text: &str| width(text.trim_end(), size) <= room;
    let pieces = text.split_inclusive([' ', '.']).flat_map(|piece| match fits(piece) {
        true => vec![piece],
        false => piece.split_inclusive('_').collect(),
    });
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if fits(&format!("{line}{piece}")) => line.push_str(piece),
            _ => lines.push(piece.to_owned()),
        }
    }
    lines
}

/// The pixels of `text` at `size` pixels an em.
///
/// The origin is the left end of the text, at the middle of its capital letters.
///
/// # Errors
/// When the embedded font cannot be read.
pub(super) fn rasterise(text: &str, size: f64) -> Result<Vec<InkPixel>, FontError> {
    let font = font(size);
    let raise = (size * (HEIGHT_PER_EM - CAPITAL_HEIGHT) / 2.0).round() as i32;
    let mut pixels = Vec::new();
    let mut pen = 0.0;
    for letter in text.chars() {
        let mut buffer = [0; 4];
        let letter: &str = letter.encode_utf8(&mut buffer);
        let glyph = glyph(&font, letter)?;
        let ink = glyph.iter().map(|pixel| pixel.0 + 1).max().unwrap_or(0);
        let advance = width(letter, size);
        let left = (pen + (advance - f64::from(ink)) / 2.0).round() as i32;
        pixels.extend(glyph.iter().map(|&(x, y, cover)| (x + left, y - raise, cover)));
        pen += advance;
    }
    Ok(pixels)
}

fn glyph(font: &FontDesc<'_>, letter: &str) -> Result<Vec<InkPixel>, FontError> {
    let mut pixels = Vec::new();
    let drawn = font.draw::<Infallible, _>(letter, (0, 0), |x, y, cover| {
        pixels.push((x, y, cover.clamp(0.0, 1.0)));
        Ok(())
    })?;
    match drawn {
        Ok(()) => Ok(pixels),
        Err(never) => match never {},
    }
}

fn font(size: f64) -> FontDesc<'static> {
    LazyLock::force(&REGISTERED);
    FontDesc::new(FontFamily::Name(FAMILY), size * HEIGHT_PER_EM, FontStyle::Normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_font_has_the_signs_of_our_labels() -> Result<(), FontError> {
        let missing = rasterise("\u{10FFFF}", 40.0)?;
        for sign in ["²", "−", "·", "…", "⁻", "⁷"] {
            let pixels = rasterise(sign, 40.0)?;
            assert!(!pixels.is_empty() && pixels != missing, "{sign} is missing");
        }
        Ok(())
    }

    #[test]
    fn names_are_broken_at_their_dots() {
        assert_eq!(wrapped("attn.c_attn", 20.0, 300.0), ["attn.c_attn"]);
        let lines = wrapped("attention.self.key_conv_attn_layer.depthwise", 20.0, 200.0);
        assert_eq!(lines, ["attention.self.key_", "conv_attn_layer.", "depthwise"]);
        assert_eq!(wrapped("head 1", 20.0, 10.0), ["head ", "1"]);
    }

    #[test]
    fn long_text_is_made_to_fit() {
        let (same, size) = fitted("short", 20.0, 200.0);
        assert_eq!((same.as_str(), size), ("short", 20.0));
        let (smaller, size) = fitted("a little too long", 20.0, 140.0);
        assert_eq!(smaller, "a little too long");
        assert!(size < 20.0);
        let (cut, size) = fitted(&"long ".repeat(40), 20.0, 200.0);
        assert!(cut.ends_with('…') && width(&cut, size) <= 200.0);
    }
}
