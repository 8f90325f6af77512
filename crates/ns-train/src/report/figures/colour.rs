//! Colours in configuration files.

use plotters::style::RGBColor;
use serde::{Deserialize, Serialize};

use super::theme::{INK, MUTED, WHITE};

/// Colour names with their values in CSS and matplotlib.
const NAMES: [(&str, [u8; 3]); 30] = [
    ("black", [0, 0, 0]),
    ("blue", [0, 0, 255]),
    ("brown", [165, 42, 42]),
    ("cyan", [0, 255, 255]),
    ("darkblue", [0, 0, 139]),
    ("darkgray", [169, 169, 169]),
    ("darkgreen", [0, 100, 0]),
    ("darkgrey", [169, 169, 169]),
    ("darkorange", [255, 140, 0]),
    ("darkred", [139, 0, 0]),
    ("gold", [255, 215, 0]),
    ("gray", [128, 128, 128]),
    ("green", [0, 128, 0]),
    ("grey", [128, 128, 128]),
    ("indigo", [75, 0, 130]),
    ("lightblue", [173, 216, 230]),
    ("lightgray", [211, 211, 211]),
    ("lightgreen", [144, 238, 144]),
    ("lightgrey", [211, 211, 211]),
    ("magenta", [255, 0, 255]),
    ("navy", [0, 0, 128]),
    ("olive", [128, 128, 0]),
    ("orange", [255, 165, 0]),
    ("pink", [255, 192, 203]),
    ("purple", [128, 0, 128]),
    ("red", [255, 0, 0]),
    ("teal", [0, 128, 128]),
    ("violet", [238, 130, 238]),
    ("white", [255, 255, 255]),
    ("yellow", [255, 255, 0]),
];

/// An RGB colour. In text, it is a name such as `red` or `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Colour {
    /// Red, from 0 to 255.
    pub red: u8,
    /// Green, from 0 to 255.
    pub green: u8,
    /// Blue, from 0 to 255.
    pub blue: u8,
}

impl Colour {
    /// Creates a colour from its red, green and blue values.
    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self { red, green, blue }
    }

    /// Blends the colour with the colour behind it. An opacity of 1 returns the colour itself.
    pub(super) fn over(self, behind: Self, opacity: f64) -> Self {
        let mix =
            |front: u8, behind: u8| (f64::from(front) * opacity + f64::from(behind) * (1.0 - opacity)).round() as u8;
        Self::new(mix(self.red, behind.red), mix(self.green, behind.green), mix(self.blue, behind.blue))
    }

    /// Returns the perceived lightness, from 0 to 1 (the luma of ITU-R BT.601).
    pub(super) fn lightness(self) -> f64 {
        (0.299 * f64::from(self.red) + 0.587 * f64::from(self.green) + 0.114 * f64::from(self.blue)) / 255.0
    }

    /// Converts to the colour type of plotters.
    pub(super) fn rgb(self) -> RGBColor {
        RGBColor(self.red, self.green, self.blue)
    }
}

impl TryFrom<String> for Colour {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let lower = text.to_lowercase();
        if let Some((_, [red, green, blue])) = NAMES.iter().find(|(name, _)| *name == lower) {
            return Ok(Self::new(*red, *green, *blue));
        }
        let digits = lower.strip_prefix('#').filter(|digits| digits.len() == 6 && !digits.starts_with('+'));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(value) => Ok(Self::new((value >> 16) as u8, (value >> 8) as u8, value as u8)),
            None => {
                let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
                Err(format!("`{text}` is not a colour; use #rrggbb or one of {}", names.join(", ")))
            }
        }
    }
}

impl From<Colour> for String {
    fn from(colour: Colour) -> Self {
        format!("#{:02x}{:02x}{:02x}", colour.red, colour.green, colour.blue)
    }
}

/// The colour of a number in a cell: in a cell without a value, on a dark and on a light shade.
pub(super) fn ink_on(shade: Option<Colour>) -> RGBColor {
    match shade {
        None => MUTED,
        Some(shade) if shade.lightness() < 0.5 => WHITE,
        Some(_) => INK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read() {
        let colour = |text: &str| Colour::try_from(text.to_string());
        assert_eq!(colour("Purple"), Ok(Colour::new(128, 0, 128)));
        assert_eq!(colour("#0072b2"), Ok(Colour::new(0, 114, 178)));
        assert_eq!(String::from(Colour::new(0, 114, 178)), "#0072b2");
        for wrong in ["", "reddish", "#12345", "#ggghhh", "#1234567", "#+12345"] {
            let message = colour(wrong).unwrap_err();
            assert!(message.contains("#rrggbb") && message.contains("purple"), "{message}");
        }
    }

    #[test]
    fn opacity_mixes_with_what_lies_behind() {
        let white = Colour::new(255, 255, 255);
        assert_eq!(Colour::new(255, 0, 0).over(white, 0.75), Colour::new(255, 64, 64));
        assert_eq!(Colour::new(255, 0, 0).over(white, 0.0), white);
        assert!(white.lightness() > 0.99 && Colour::new(0, 0, 0).lightness() == 0.0);
    }
}
