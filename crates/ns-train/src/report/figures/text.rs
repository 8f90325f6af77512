//! Measures and shortens text in the embedded font.

use std::sync::LazyLock;

use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};

/// Name under which the font is registered with plotters. It is unique to this module, so that other users of plotters
/// are not affected.
const FAMILY: &str = "ns-figures DejaVu Sans";
/// Ascent plus descent of DejaVu Sans, in em. plotters measures font sizes in this height.
const HEIGHT_PER_EM: f64 = 1.164;
/// Text is measured at this multiple of its size, because plotters rounds widths down to whole pixels.
const MEASURE_SCALE: f64 = 32.0;
/// Smallest factor by which [`fitted`] reduces the size of a text.
const MIN_SCALE: f64 = 0.65;

static REGISTERED: LazyLock<bool> =
    LazyLock::new(|| register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular()).is_ok());

/// Returns the width of `text` in pixels, at `size` pixels per em.
pub(super) fn width(text: &str, size: f64) -> f64 {
    match font(size * MEASURE_SCALE).layout_box(text) {
        Ok((_, (right, _))) => f64::from(right) / MEASURE_SCALE,
        // This happens only if the embedded font cannot be read.
        Err(_) => 0.6 * size * text.chars().count() as f64,
    }
}

/// Returns the width of the widest of `texts` in pixels, rounded up.
pub(super) fn widest<'a>(texts: impl IntoIterator<Item = &'a str>, size: f64) -> i32 {
    texts.into_iter().map(|text| width(text, size).ceil() as i32).max().unwrap_or(0)
}

/// Makes `text` fit `room` pixels: reduces its size (down to 65%) and then, if needed, cuts it with an ellipsis.
/// Returns the text and its size.
pub(super) fn fitted(text: &str, size: f64, room: f64) -> (String, f64) {
    let needed = width(text, size);
    if needed <= room {
        return (text.to_owned(), size);
    }
    let smaller = (size * room / needed).max(size * MIN_SCALE);
    if width(text, smaller) <= room + 1.0 {
        return (text.to_owned(), smaller);
    }
    (cut(text, smaller, room), smaller)
}

/// Returns the longest beginning of `text` that fits `room` pixels with an ellipsis, and appends the ellipsis.
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

/// Breaks `text` into lines of at most `room` pixels, after spaces and dots and, if that is not enough, after
/// underscores. A piece that cannot be broken may be wider.
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

fn font(size: f64) -> FontDesc<'static> {
    LazyLock::force(&REGISTERED);
    FontDesc::new(FontFamily::Name(FAMILY), size * HEIGHT_PER_EM, FontStyle::Normal)
}

#[cfg(test)]
mod tests {
    use super::*;

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
