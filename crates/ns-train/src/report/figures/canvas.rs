//! The few drawing operations that all figures are made of, over any plotters backend.

use plotters::backend::DrawingBackend;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle};

use super::text;
use super::theme::{INK, WHITE};

/// The result of a drawing operation on the backend `B`.
pub(super) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// A position: pixels from the left, pixels from the top.
pub(super) type Point = (i32, i32);

/// The SVG backend divides text sizes by this number.
const SVG_TEXT_SCALE: f64 = 1.24;
/// The SVG backend centres on small letters; this many em lower are the centres of capitals and digits.
const SVG_CAPITAL_SHIFT: f64 = 0.09;

/// A rectangle.
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

/// How a text is set: size in pixels an em, colour, and where its anchor lies.
#[derive(Clone, Copy)]
pub(super) struct Label {
    pub(super) size: f64,
    pub(super) colour: RGBColor,
    pub(super) align: HPos,
    /// Reads from bottom to top.
    pub(super) upright: bool,
}

impl Label {
    /// Dark text that starts at its anchor.
    pub(super) fn new(size: f64) -> Self {
        Self { size, colour: INK, align: HPos::Left, upright: false }
    }

    pub(super) fn centred(self) -> Self {
        Self { align: HPos::Center, ..self }
    }

    pub(super) fn ending(self) -> Self {
        Self { align: HPos::Right, ..self }
    }

    pub(super) fn upright(self) -> Self {
        Self { upright: true, ..self }
    }

    pub(super) fn coloured(self, colour: RGBColor) -> Self {
        Self { colour, ..self }
    }
}

/// A sheet to draw on, in pixels of the figure whatever the backend's resolution.
pub(super) struct Canvas<B: DrawingBackend> {
    backend: B,
    scale: i32,
    raster: bool,
}

impl<B: DrawingBackend> Canvas<B> {
    /// A sheet whose backend keeps text as text and has `scale` units for every pixel.
    pub(super) fn vector(backend: B, scale: i32) -> Self {
        Self { backend, scale, raster: false }
    }

    /// A sheet whose backend has `scale` pixels for every pixel of the figure.
    pub(super) fn raster(backend: B, scale: i32) -> Self {
        Self { backend, scale, raster: true }
    }

    /// Ends the drawing.
    pub(super) fn finish(mut self) -> Drawn<B> {
        self.backend.present().map_err(DrawingAreaErrorKind::BackendError)
    }

    pub(super) fn background(&mut self) -> Drawn<B> {
        let (width, height) = self.backend.get_size();
        let corner = (width as i32 / self.scale, height as i32 / self.scale);
        self.fill(Area::new((0, 0), corner), WHITE)
    }

    pub(super) fn fill(&mut self, area: Area, colour: RGBColor) -> Drawn<B> {
        let (from, to) = (self.scaled((area.left, area.top)), self.scaled((area.right, area.bottom)));
        let style = ShapeStyle::from(colour).filled();
        self.backend.draw_rect(from, to, &style, true).map_err(DrawingAreaErrorKind::BackendError)
    }

    pub(super) fn dot(&mut self, centre: Point, radius: u32, colour: RGBColor) -> Drawn<B> {
        let (centre, style) = (self.scaled(centre), ShapeStyle::from(colour).filled());
        self.backend
            .draw_circle(centre, radius * self.scale as u32, &style, true)
            .map_err(DrawingAreaErrorKind::BackendError)
    }

    /// A line through `points`, which may lie between the pixels; a dot if they all coincide.
    pub(super) fn path(&mut self, points: &[(f64, f64)], thickness: u32, colour: RGBColor) -> Drawn<B> {
        let scale = f64::from(self.scale);
        let fine = |(x, y): (f64, f64)| ((x * scale).round() as i32, (y * scale).round() as i32);
        let mut points: Vec<Point> = points.iter().map(|&point| fine(point)).collect();
        points.dedup();
        let thickness = thickness * self.scale as u32;
        if let [only] = points[..] {
            let style = ShapeStyle::from(colour).filled();
            return self
                .backend
                .draw_circle(only, thickness / 2, &style, true)
                .map_err(DrawingAreaErrorKind::BackendError);
        }
        let style = ShapeStyle::from(colour).stroke_width(thickness);
        if !self.raster {
            return self.backend.draw_path(points, &style).map_err(DrawingAreaErrorKind::BackendError);
        }
        // plotters' bitmaps lengthen the joint of a sharp bend without limit, so each piece is drawn by itself.
        let joint = ShapeStyle::from(colour).filled();
        for piece in points.windows(2) {
            self.backend.draw_path(piece.iter().copied(), &style).map_err(DrawingAreaErrorKind::BackendError)?;
            self.backend
                .draw_circle(piece[1], thickness / 2, &joint, true)
                .map_err(DrawingAreaErrorKind::BackendError)?;
        }
        Ok(())
    }

    /// A horizontal line of crisp edges.
    pub(super) fn across(&mut self, (left, right): (i32, i32), y: i32, thickness: i32, colour: RGBColor) -> Drawn<B> {
        let top = y - thickness / 2;
        self.fill(Area::new((left, top), (right, top + thickness)), colour)
    }

    /// A vertical line of crisp edges.
    pub(super) fn down(&mut self, x: i32, (top, bottom): (i32, i32), thickness: i32, colour: RGBColor) -> Drawn<B> {
        let left = x - thickness / 2;
        self.fill(Area::new((left, top), (left + thickness, bottom)), colour)
    }

    /// A horizontal dashed line.
    pub(super) fn dashes(&mut self, (left, right): (i32, i32), y: i32, colour: RGBColor) -> Drawn<B> {
        for start in (left..right).step_by(20) {
            self.across((start, right.min(start + 12)), y, 3, colour)?;
        }
        Ok(())
    }

    /// `text` whose capitals are centred on the height of `at`.
    pub(super) fn text(&mut self, text: &str, at: Point, label: Label) -> Drawn<B> {
        let text = text.replace(char::is_control, " ");
        if self.raster { self.raster_text(&text, at, label) } else { self.vector_text(&text, at, label) }
    }

    fn vector_text(&mut self, text: &str, at: Point, label: Label) -> Drawn<B> {
        let (size, (x, y)) = (label.size * f64::from(self.scale), self.scaled(at));
        let shift = (SVG_CAPITAL_SHIFT * size).round() as i32;
        let (at, turn) = if label.upright {
            ((x + shift, y), FontTransform::Rotate270)
        } else {
            ((x, y + shift), FontTransform::None)
        };
        let font = FontDesc::new(FontFamily::SansSerif, size * SVG_TEXT_SCALE, FontStyle::Normal);
        let style = TextStyle {
            font: font.transform(turn),
            color: label.colour.to_backend_color(),
            pos: Pos::new(label.align, VPos::Center),
        };
        self.backend.draw_text(text, &style, at).map_err(DrawingAreaErrorKind::BackendError)
    }

    fn raster_text(&mut self, text: &str, at: Point, label: Label) -> Drawn<B> {
        let (size, (x, y)) = (label.size * f64::from(self.scale), self.scaled(at));
        let width = text::width(text, size).round() as i32;
        let start = match label.align {
            HPos::Left => 0,
            HPos::Center => -width / 2,
            HPos::Right => -width,
        };
        let pixels = text::rasterise(text, size).map_err(|_| DrawingAreaErrorKind::LayoutError)?;
        for (right, below, cover) in pixels {
            let right = right + start;
            let at = if label.upright { (x + below, y - right) } else { (x + right, y + below) };
            let colour = label.colour.mix(f64::from(cover)).to_backend_color();
            self.backend.draw_pixel(at, colour).map_err(DrawingAreaErrorKind::BackendError)?;
        }
        Ok(())
    }

    fn scaled(&self, (x, y): Point) -> Point {
        (x * self.scale, y * self.scale)
    }
}
