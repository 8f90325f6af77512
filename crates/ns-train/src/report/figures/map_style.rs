//! Texts, colours and sizes of circuit maps and heat maps.

use super::colour::Colour;
use super::legend::{Entry, Symbol};
use super::theme::WIDTH;

/// Texts, colours and sizes of a circuit map or heat map.
#[derive(Debug, Clone, PartialEq)]
pub struct MapStyle {
    /// Title of the figure.
    pub title: String,
    /// Names of one or two circuits.
    pub labels: Vec<String>,
    /// Colours of the circuits.
    pub circuits: [Colour; 2],
    /// Colour of parameters in both circuits.
    pub both: Colour,
    /// Colour of masked parameters that are not in any circuit.
    pub unused: Colour,
    /// Colour of parameters without a mask.
    pub unmasked: Colour,
    /// Opacity of these colours over white, from 0 to 1. Heat maps do not use it.
    pub opacity: f64,
    /// Text size of the title, in pixels.
    pub title_size: f64,
    /// Text size of names and of the legend, in pixels.
    pub label_size: f64,
    /// Width and height in pixels. With `None`, the size follows from the content.
    pub size: Option<(i32, i32)>,
    /// Whether the figure has a legend.
    pub legend: bool,
}

impl MapStyle {
    /// Returns the colours of the parts of a bar, in the order of
    /// [`CircuitCell::counts`](super::grid::CircuitCell::counts).
    pub(super) fn colours(&self) -> [Colour; 5] {
        let [first, second] = self.circuits;
        let white = Colour::new(255, 255, 255);
        [first, self.both, second, self.unused, self.unmasked].map(|colour| colour.over(white, self.opacity))
    }

    /// Returns the legend entries of the parts of a bar; `not masked` only if `unmasked` is true.
    pub(super) fn entries(&self, unmasked: bool) -> Vec<Entry> {
        let two = self.labels.len() > 1;
        let only = |index: usize| {
            let label = self.labels.get(index).map_or("", String::as_str);
            if two { format!("only {label}") } else { label.to_owned() }
        };
        let names = [only(0), "both".to_owned(), only(1), "unused".to_owned(), "not masked".to_owned()];
        let wanted = [true, two, two, true, unmasked];
        let entries = names.iter().zip(self.colours()).zip(wanted);
        entries
            .filter(|(_, wanted)| *wanted && self.legend)
            .map(|((name, colour), _)| Entry::new(name, Symbol::Bar, colour.rgb()))
            .collect()
    }

    /// Returns the height of the strip that holds the title, in pixels.
    pub(super) fn title_strip(&self) -> i32 {
        if self.title.is_empty() { 24 } else { (2.4 * self.title_size).round() as i32 }
    }

    /// Returns the fixed width, or the smallest width if the size follows from the content, in pixels.
    pub(super) fn width(&self) -> i32 {
        self.size.map_or(WIDTH, |(width, _)| width)
    }
}
