//! The drawing operations that all figures use. They write SVG.

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle};

use super::theme::{INK, WHITE};

/// The result of a drawing function.
pub(super) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// A position: pixels from the left and pixels from the top.
pub(super) type Point = (i32, i32);

/// Units of the SVG per pixel of the figure. plotters rounds coordinates to whole units, so the units are finer than
/// pixels.
pub(super) const UNITS_PER_PIXEL: i32 = 4;
/// The SVG backend divides text sizes by this number.
const SVG_TEXT_SCALE: f64 = 1.24;
/// The SVG backend centres text on the small letters. The centre of capitals and digits is this much lower, in em.
const SVG_CAPITAL_SHIFT: f64 = 0.09;

/// A rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

impl Area {
    pub(super) fn new((left, top): Point, (right, bottom): Point) -> Self {
        Self { left, top, right, bottom }
    }

    pub(super) fn width(&self) -> i32 {
        self.right - self.left
    }

    pub(super) fn centre(&self) -> Point {
        ((self.left + self.right) / 2, (self.top + self.bottom) / 2)
    }
}

/// Style of a text: size in pixels per em, colour and alignment.
#[derive(Clone, Copy)]
pub(super) struct Label {
    pub(super) size: f64,
    pub(super) colour: RGBColor,
    /// Horizontal position of the anchor within the text.
    pub(super) align: HPos,
    /// Whether the text is rotated to read from bottom to top.
    pub(super) upright: bool,
}

impl Label {
    /// Creates a style for dark text that starts at its anchor.
    pub(super) fn new(size: f64) -> Self {
        Self { size, colour: INK, align: HPos::Left, upright: false }
    }

    pub(super) fn centred(self) -> Self {
        Self { align: HPos::Center, ..self }
    }

    /// Aligns the end of the text to its anchor.
    pub(super) fn ending(self) -> Self {
        Self { align: HPos::Right, ..self }
    }

    pub(super) fn coloured(self, colour: RGBColor) -> Self {
        Self { colour, ..self }
    }
}

/// Draws a figure of `width` × `height` pixels on a white background and returns its SVG.
pub(super) fn svg((width, height): Point, draw: impl Fn(&mut Canvas<'_>) -> Drawn) -> Drawn<String> {
    let mut svg = String::new();
    let units = (width * UNITS_PER_PIXEL, height * UNITS_PER_PIXEL);
    let mut canvas = Canvas { backend: SVGBackend::with_string(&mut svg, (units.0 as u32, units.1 as u32)) };
    canvas.fill(Area::new((0, 0), (width, height)), WHITE)?;
    draw(&mut canvas)?;
    canvas.backend.present().map_err(DrawingAreaErrorKind::BackendError)?;
    drop(canvas);
    Ok(svg)
}

/// A drawing in pixels of the figure.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

impl Canvas<'_> {
    /// Fills a rectangle.
    pub(super) fn fill(&mut self, area: Area, colour: RGBColor) -> Drawn {
        // An SVG rectangle without width or height is invalid.
        if area.left == area.right || area.top == area.bottom {
            return Ok(());
        }
        let (from, to) = (scaled((area.left, area.top)), scaled((area.right, area.bottom)));
        let style = ShapeStyle::from(colour).filled();
        self.backend.draw_rect(from, to, &style, true).map_err(DrawingAreaErrorKind::BackendError)
    }

    /// Draws a filled circle.
    pub(super) fn dot(&mut self, centre: Point, radius: i32, colour: RGBColor) -> Drawn {
        self.circle(scaled(centre), radius * UNITS_PER_PIXEL, colour)
    }

    /// Draws a line through `points`, which may lie between pixels. If all points coincide, draws a dot.
    pub(super) fn path(&mut self, points: &[(f64, f64)], thickness: i32, colour: RGBColor) -> Drawn {
        let to_units = |pixels: f64| (pixels * f64::from(UNITS_PER_PIXEL)).round() as i32;
        let mut points: Vec<Point> = points.iter().map(|&(x, y)| (to_units(x), to_units(y))).collect();
        points.dedup();
        let thickness = thickness * UNITS_PER_PIXEL;
        if let [only] = points[..] {
            return self.circle(only, thickness / 2, colour);
        }
        let style = ShapeStyle::from(colour).stroke_width(thickness as u32);
        self.backend.draw_path(points, &style).map_err(DrawingAreaErrorKind::BackendError)
    }

    /// Draws a filled circle whose centre and radius are in units of the SVG.
    fn circle(&mut self, centre: Point, radius: i32, colour: RGBColor) -> Drawn {
        let style = ShapeStyle::from(colour).filled();
        self.backend.draw_circle(centre, radius as u32, &style, true).map_err(DrawingAreaErrorKind::BackendError)
    }

    /// Draws a horizontal line with sharp edges.
    pub(super) fn across(&mut self, (left, right): (i32, i32), y: i32, thickness: i32, colour: RGBColor) -> Drawn {
        let top = y - thickness / 2;
        self.fill(Area::new((left, top), (right, top + thickness)), colour)
    }

    /// Draws a vertical line with sharp edges.
    pub(super) fn down(&mut self, x: i32, (top, bottom): (i32, i32), thickness: i32, colour: RGBColor) -> Drawn {
        let left = x - thickness / 2;
        self.fill(Area::new((left, top), (left + thickness, bottom)), colour)
    }

    /// Draws a horizontal dashed line.
    pub(super) fn dashes(&mut self, (left, right): (i32, i32), y: i32, colour: RGBColor) -> Drawn {
        for start in (left..right).step_by(20) {
            self.across((start, right.min(start + 12)), y, 3, colour)?;
        }
        Ok(())
    }

    /// Draws `text` so that its capitals are vertically centred on `at`. Control characters become spaces.
    pub(super) fn text(&mut self, text: &str, at: Point, label: Label) -> Drawn {
        let text = text.replace(char::is_control, " ");
        let (size, (x, y)) = (label.size * f64::from(UNITS_PER_PIXEL), scaled(at));
        let shift = (SVG_CAPITAL_SHIFT * size).round() as i32;
        let (at, rotation) = if label.upright {
            ((x + shift, y), FontTransform::Rotate270)
        } else {
            ((x, y + shift), FontTransform::None)
        };
        let font = FontDesc::new(FontFamily::SansSerif, size * SVG_TEXT_SCALE, FontStyle::Normal);
        let style = TextStyle {
            font: font.transform(rotation),
            color: label.colour.to_backend_color(),
            pos: Pos::new(label.align, VPos::Center),
        };
        self.backend.draw_text(&text, &style, at).map_err(DrawingAreaErrorKind::BackendError)
    }
}

/// Converts a position from pixels to units of the SVG.
fn scaled((x, y): Point) -> Point {
    (x * UNITS_PER_PIXEL, y * UNITS_PER_PIXEL)
}
