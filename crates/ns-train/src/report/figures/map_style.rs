//! How circuit maps look: texts, colours, sizes.

use super::colour::Colour;
use super::legend::{Entry, Sign};
use super::theme::WIDTH;

/// How a circuit map looks.
#[derive(Debug, Clone, PartialEq)]
pub struct MapStyle {
    /// The title.
    pub title: String,
    /// Names of the circuits, one or two.
    pub labels: Vec<String>,
    /// Colours of the circuits.
    pub circuits: [Colour; 2],
    /// Colour of what is in both.
    pub both: Colour,
    /// Colour of what is masked and in no circuit.
    pub unused: Colour,
    /// Colour of what no circuit masks.
    pub unmasked: Colour,
    /// Opacity of these colours before white, from 0 to 1.
    pub opacity: f64,
    /// Size of the title, in pixels.
    pub title_size: f64,
    /// Size of names and of the legend, in pixels.
    pub label_size: f64,
    /// Width and height in pixels; `None` gives what is in the figure the room that it needs.
    pub size: Option<(i32, i32)>,
    /// Whether there is a legend.
    pub legend: bool,
}

const WHITE: Colour = Colour::new(255, 255, 255);

impl MapStyle {
    /// Colours of a bar's parts, in the order of [`CircuitCell::counts`](super::grid::CircuitCell::counts).
    pub(super) fn colours(&self) -> [Colour; 5] {
        let [first, second] = self.circuits;
        [first, self.both, second, self.unused, self.unmasked].map(|colour| self.seen(colour))
    }

    /// A colour before white.
    pub(super) fn seen(&self, colour: Colour) -> Colour {
        colour.over(WHITE, self.opacity)
    }

    /// The legend of a bar's parts; what appears nowhere (`shown`) is left out.
    pub(super) fn entries(&self, shown: [bool; 5]) -> Vec<Entry> {
        let two = self.labels.len() > 1;
        let only = |index: usize| {
            let label = self.labels.get(index).map_or("", String::as_str);
            if two { format!("only {label}") } else { label.to_owned() }
        };
        let names = [only(0), "both".to_owned(), only(1), "unused".to_owned(), "not masked".to_owned()];
        let wanted = [true, two, two, true, shown[4]];
        let entries = names.iter().zip(self.colours()).zip(wanted);
        entries
            .filter(|(_, wanted)| *wanted && self.legend)
            .map(|((name, colour), _)| Entry::new(name, Sign::Bar, colour.rgb()))
            .collect()
    }

    /// Height of the strip that holds the title.
    pub(super) fn title_strip(&self) -> i32 {
        if self.title.is_empty() { 24 } else { (2.4 * self.title_size).round() as i32 }
    }

    /// Width that the figure has at least.
    pub(super) fn width(&self) -> i32 {
        self.size.map_or(WIDTH, |(width, _)| width)
    }
}
