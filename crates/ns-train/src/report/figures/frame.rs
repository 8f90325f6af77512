//! Plot areas: two axes with grid lines, tick labels and names.

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn, Label};
use super::text::{fitted, widest};
use super::theme::{GRID, INK, MUTED, NAME, TICK, TITLE, TITLE_MIDDLE};

/// Space below a plot area for tick labels and the axis name, in pixels.
pub(super) const BELOW: i32 = 84;
/// Distance between tick labels and the plot area, in pixels.
const GAP: i32 = 12;
/// Width of the strip for the name of the vertical axis, in pixels.
const NAME_STRIP: i32 = 48;

/// Returns the space left of a plot area for the tick labels and the name of `axis`, in pixels.
pub(super) fn room_left(axis: &Axis) -> i32 {
    let ticks = axis.ticks();
    widest(ticks.iter().map(|tick| tick.label.as_str()), TICK) + GAP + NAME_STRIP
}

/// Draws the title of a figure that is `width` pixels wide, with text of the given size.
pub(super) fn draw_title(size: f64, canvas: &mut Canvas<'_>, title: &str, width: i32) -> Drawn {
    let middle = (f64::from(TITLE_MIDDLE) * size / TITLE).round() as i32;
    let (title, size) = fitted(title, size, f64::from(width - 80));
    canvas.text(&title, (width / 2, middle), Label::new(size).centred())
}

/// Draws the text `no data` in the centre of `area`.
pub(super) fn draw_no_data(canvas: &mut Canvas<'_>, area: Area) -> Drawn {
    canvas.text("no data", area.centre(), Label::new(NAME).centred().coloured(MUTED))
}

/// A plot area with its axes.
pub(super) struct Frame {
    pub(super) area: Area,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Frame {
    /// Returns the pixel column of `value`.
    pub(super) fn column(&self, value: f64) -> i32 {
        self.point((value, 0.0)).0.round() as i32
    }

    /// Returns the pixel row of `value`.
    pub(super) fn row(&self, value: f64) -> i32 {
        self.point((0.0, value)).1.round() as i32
    }

    /// Returns the position of a pair of values, in pixels. It may lie between pixels.
    pub(super) fn point(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let width = f64::from(self.area.width());
        let height = f64::from(self.area.bottom - self.area.top);
        (
            f64::from(self.area.left) + self.x.fraction(x) * width,
            f64::from(self.area.bottom) - self.y.fraction(y) * height,
        )
    }

    /// Draws grid lines, tick labels and the name of the horizontal axis.
    pub(super) fn draw_x(&self, canvas: &mut Canvas<'_>, name: &str) -> Drawn {
        let area = self.area;
        for tick in self.x.ticks() {
            let column = self.column(tick.value);
            canvas.down(column, (area.top, area.bottom), 2, GRID)?;
            canvas.text(&tick.label, (column, area.bottom + 26), Label::new(TICK).centred())?;
        }
        self.draw_x_name(canvas, name)
    }

    /// Draws grid lines, tick labels and the name of the vertical axis.
    pub(super) fn draw_y(&self, canvas: &mut Canvas<'_>, name: &str) -> Drawn {
        let area = self.area;
        for tick in self.y.ticks() {
            let row = self.row(tick.value);
            canvas.across((area.left, area.right), row, 2, GRID)?;
            canvas.text(&tick.label, (area.left - GAP, row), Label::new(TICK).ending())?;
        }
        self.draw_y_name(canvas, name)
    }

    /// Draws the name of the horizontal axis.
    pub(super) fn draw_x_name(&self, canvas: &mut Canvas<'_>, name: &str) -> Drawn {
        let (name, size) = fitted(name, NAME, f64::from(self.area.width()));
        let at = (self.area.centre().0, self.area.bottom + 64);
        canvas.text(&name, at, Label::new(size).centred())
    }

    /// Draws the name of the vertical axis.
    pub(super) fn draw_y_name(&self, canvas: &mut Canvas<'_>, name: &str) -> Drawn {
        let (name, size) = fitted(name, NAME, f64::from(self.area.bottom - self.area.top));
        let at = (self.area.left - room_left(&self.y) + NAME_STRIP / 3, self.area.centre().1);
        canvas.text(&name, at, Label { upright: true, ..Label::new(size).centred() })
    }

    /// Draws the lines of both axes, on top of the content of the plot area.
    pub(super) fn draw_spines(&self, canvas: &mut Canvas<'_>) -> Drawn {
        let area = self.area;
        canvas.across((area.left - 1, area.right), area.bottom, 2, INK)?;
        canvas.down(area.left, (area.top, area.bottom), 2, INK)
    }
}
