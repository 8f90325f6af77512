//! Heat maps: share of each head of each layer in a circuit, as colour and number.

use std::path::Path;

use super::canvas::{Area, Canvas, Drawn, Label};
use super::colour::{Colour, ink_on};
use super::error::{FigureError, check_number};
use super::frame::{draw_no_data, draw_title};
use super::grid::percent;
use super::grid_frame::{GridFrame, GridSpec, MARGIN, MAX_COLUMNS, MAX_ROWS};
use super::map_style::MapStyle;
use super::output::{ImageFormat, save_as};
use super::text::fitted;
use super::theme::{MUTED, TRACK};

/// Smallest width of a cell, in pixels.
const MIN_CELL_WIDTH: i32 = 74;
/// Largest width of a cell, in pixels.
const MAX_CELL_WIDTH: i32 = 150;
/// Height of a row, in pixels.
const ROW_HEIGHT: i32 = 54;
/// Height of the strip with the colour scale, in pixels.
const SCALE_STRIP: i32 = 78;
/// Width of the colour scale, in pixels.
const SCALE_WIDTH: i32 = 420;
/// Number of colours of the colour scale.
const SCALE_STEPS: i32 = 105;
/// Possible upper ends of the colour scale. The scale ends at the first value that is not below the largest share, so
/// that small circuits are also visible.
const SCALE_ENDS: [f64; 7] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
/// Text size of the numbers in cells, relative to the size of names.
const NUMBER_SCALE: f64 = 0.84;

/// Shares of the components of a model in one circuit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeatPanel {
    /// Names of the columns, such as `head 3`.
    pub columns: Vec<String>,
    /// Name of each row, such as `layer 0`, and one share per column: the share of the masked parameters that is in the
    /// circuit, from 0 to 1, or `None` if no parameter is masked.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

/// Draws a heat map to the file `path`, with one panel per circuit from top to bottom.
///
/// All panels share the upper end of the colour scale. A panel without rows shows `no data`.
///
/// # Errors
/// Returns [`FigureError::TooMany`] for more than 200 rows in all panels or more than 130 columns,
/// [`FigureError::TooSmall`] if the size in `style` is too small for the cells, and [`FigureError::Draw`] or
/// [`FigureError::Write`] if the file cannot be drawn or written.
pub fn heat_map(
    path: impl AsRef<Path>,
    format: ImageFormat,
    panels: &[HeatPanel],
    style: &MapStyle,
) -> Result<(), FigureError> {
    let path = path.as_ref();
    check_number("rows", panels.iter().map(|panel| panel.rows.len()).sum(), MAX_ROWS)?;
    check_number("columns", panels.iter().map(|panel| panel.columns.len()).max().unwrap_or(0), MAX_COLUMNS)?;
    let map = HeatMap::new(panels, style);
    map.frames.iter().try_for_each(|frame| frame.check(map.size))?;
    save_as(path, format, map.size, |canvas| map.draw(canvas))
}

struct HeatMap<'a> {
    panels: &'a [HeatPanel],
    style: &'a MapStyle,
    frames: Vec<GridFrame>,
    size: (i32, i32),
    /// The share that has the darkest colour: the upper end of the colour scale.
    scale_end: f64,
}

impl<'a> HeatMap<'a> {
    fn new(panels: &'a [HeatPanel], style: &'a MapStyle) -> Self {
        let name = if panels.len() > 1 { (1.7 * style.label_size) as i32 } else { 0 };
        let scale = if style.legend { SCALE_STRIP } else { MARGIN / 2 };
        let count = panels.len().max(1) as i32;
        let panel_height = style.size.map(|(_, height)| (height - style.title_strip() - scale) / count);
        let (mut top, mut frames) = (style.title_strip(), Vec::new());
        for panel in panels {
            let spec = GridSpec {
                columns: &panel.columns,
                rows: panel.rows.iter().map(|(label, _)| label.as_str()).collect(),
                top: top + name,
                cell_width: MIN_CELL_WIDTH,
                widest_cell: MAX_CELL_WIDTH,
                row_height: ROW_HEIGHT,
                bottom: panel_height.map(|height| top + height - 12),
            };
            let frame = GridFrame::new(style, spec);
            top = panel_height.map_or(frame.bottom() + 24, |height| top + height);
            frames.push(frame);
        }
        let width = frames.iter().map(|frame| frame.right).max().unwrap_or(0).max(2 * SCALE_WIDTH) + MARGIN;
        let size = style.size.unwrap_or((width, top + scale));
        Self { panels, style, frames, size, scale_end: scale_end(panels) }
    }

    fn draw_panel(&self, canvas: &mut Canvas<'_>, index: usize, colour: Colour) -> Drawn {
        let (panel, frame, style) = (&self.panels[index], &self.frames[index], self.style);
        for (row, (_, shares)) in panel.rows.iter().enumerate() {
            for (column, share) in shares.iter().enumerate() {
                self.draw_cell(canvas, frame.cell(row, column), *share, colour)?;
            }
        }
        if panel.rows.is_empty() {
            draw_no_data(canvas, frame.area())?;
        }
        frame.draw_names(canvas, 0)?;
        let Some(label) = style.labels.get(index).filter(|_| self.panels.len() > 1) else {
            return Ok(());
        };
        let middle = self.panel_top(index) + (0.7 * style.label_size) as i32;
        let (label, size) = fitted(label, style.label_size * 1.1, f64::from(self.size.0 - frame.left - MARGIN));
        canvas.text(&label, (frame.left, middle), Label::new(size))
    }

    /// Returns the upper edge of the area that holds the name of a panel.
    fn panel_top(&self, index: usize) -> i32 {
        match (index, self.style.size) {
            (0, _) => self.style.title_strip(),
            (index, None) => self.frames[index - 1].bottom() + 24,
            (index, Some(_)) => self.frames[index - 1].bottom() + 12,
        }
    }

    fn draw_cell(&self, canvas: &mut Canvas<'_>, area: Area, share: Option<f64>, colour: Colour) -> Drawn {
        let area = Area { left: area.left + 2, top: area.top + 2, right: area.right - 2, bottom: area.bottom - 2 };
        let shade = share.map(|share| shade(colour, share / self.scale_end));
        canvas.fill(area, shade.map_or(TRACK, Colour::rgb))?;
        let ink = ink_on(shade);
        let text = share.map_or("–".to_owned(), percent);
        let size = (NUMBER_SCALE * self.style.label_size).min(f64::from(area.bottom - area.top) * 0.75);
        let (text, size) = fitted(&text, size, f64::from(area.width() - 4));
        canvas.text(&text, area.centre(), Label::new(size).centred().coloured(ink))
    }

    /// Draws the colour scale of each panel, one below the other.
    fn draw_scale(&self, canvas: &mut Canvas<'_>) -> Drawn {
        let colours = &self.style.circuits[..self.panels.len().clamp(1, 2)];
        let height = 22 / colours.len() as i32;
        let left = self.frames.first().map_or(MARGIN, |frame| frame.left);
        let size = NUMBER_SCALE * self.style.label_size;
        let (top, step) = (self.size.1 - SCALE_STRIP + 8, SCALE_WIDTH / SCALE_STEPS);
        for index in 0..SCALE_STEPS {
            let share = f64::from(index) / f64::from(SCALE_STEPS - 1);
            for (top, colour) in (top..).step_by(height as usize).zip(colours) {
                let area = Area::new((left + index * step, top), (left + (index + 1) * step, top + height));
                canvas.fill(area, shade(*colour, share).rgb())?;
            }
        }
        let below = top + 22 + (0.8 * size) as i32;
        for share in [0.0, 0.5, 1.0] {
            let x = left + (f64::from(SCALE_WIDTH) * share) as i32;
            let text = format!("{}", (1e3 * share * self.scale_end).round() / 10.0);
            canvas.text(&text, (x, below), Label::new(size * 0.85).centred().coloured(MUTED))?;
        }
        let caption = "% of the masked parameters in the circuit";
        let room = f64::from(self.size.0 - left - SCALE_WIDTH - 20 - MARGIN / 2);
        let (caption, size) = fitted(caption, size, room);
        canvas.text(&caption, (left + SCALE_WIDTH + 20, top + 11), Label::new(size).coloured(MUTED))
    }

    fn draw(&self, canvas: &mut Canvas<'_>) -> Drawn {
        draw_title(self.style.title_size, canvas, &self.style.title, self.size.0)?;
        for index in 0..self.panels.len() {
            self.draw_panel(canvas, index, self.style.circuits[index % 2])?;
        }
        if self.style.legend {
            self.draw_scale(canvas)?;
        }
        Ok(())
    }
}

/// Returns the upper end of the colour scale.
fn scale_end(panels: &[HeatPanel]) -> f64 {
    let shares = panels.iter().flat_map(|panel| &panel.rows).flat_map(|(_, shares)| shares.iter().flatten());
    let largest = shares.copied().fold(0.0, f64::max);
    SCALE_ENDS.into_iter().find(|end| largest <= *end).unwrap_or(1.0)
}

/// Returns the colour of a position on the scale: almost white at 0, darker than the colour of the circuit at 1.
fn shade(colour: Colour, share: f64) -> Colour {
    let (white, black) = (Colour::new(255, 255, 255), Colour::new(0, 0, 0));
    black.over(colour, 0.25 * share.clamp(0.0, 1.0)).over(white, 0.06 + 0.94 * share.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::circuit_map::tests::style;
    use crate::report::figures::output::tests::TestFolder;

    fn panel() -> HeatPanel {
        let row = |layer: usize| {
            let share = |head: usize| (head != 1).then_some((layer * 3 + head) as f64 / 36.0);
            (format!("layer {layer}"), (0..4).map(share).collect())
        };
        HeatPanel { columns: (0..4).map(|head| format!("head {head}")).collect(), rows: (0..12).map(row).collect() }
    }

    #[test]
    fn shows_shares_and_what_is_not_masked() -> Result<(), FigureError> {
        let folder = TestFolder::new("heat");
        let path = folder.path().join("heat.svg");
        heat_map(&path, ImageFormat::Svg, &[panel(), panel()], &style(2))?;
        let svg = folder.svg("heat");
        for text in ["layer 11", "head 3", ">\nfirst\n<", ">\nsecond\n<", "–", "100", "of the masked parameters"] {
            assert!(svg.contains(text), "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_fixed_size_is_kept_or_refused() -> Result<(), FigureError> {
        let folder = TestFolder::new("heat-size");
        let sized = |size| MapStyle { size: Some(size), ..style(1) };
        let draw = |size| heat_map(folder.path().join("heat.png"), ImageFormat::Png, &[panel()], &sized(size));
        draw((900, 700))?;
        assert_eq!(folder.png_size("heat"), (900, 700));
        assert!(matches!(draw((900, 200)), Err(FigureError::TooSmall { rows: 12, columns: 4, .. })));
        heat_map(folder.path().join("none.svg"), ImageFormat::Svg, &[HeatPanel::default()], &style(1))?;
        assert!(folder.svg("none").contains("no data"));
        Ok(())
    }

    #[test]
    fn the_scale_ends_near_the_largest_share() {
        let scale =
            |share| scale_end(&[HeatPanel { rows: vec![("layer 0".into(), vec![Some(share), None])], ..panel() }]);
        assert_eq!([0.0, 0.059, 0.5, 0.51, 1.0].map(scale), [0.01, 0.1, 0.5, 1.0, 1.0]);
        assert_eq!(scale_end(&[panel(), HeatPanel::default()]), 1.0);
        assert_eq!(scale_end(&[]), 0.01);
    }

    #[test]
    fn a_larger_share_is_darker() {
        let lightness: Vec<f64> =
            (0..=10).map(|tenth| shade(Colour::new(0, 114, 178), f64::from(tenth) / 10.0).lightness()).collect();
        assert!(lightness.is_sorted_by(|lighter, darker| lighter > darker), "{lightness:?}");
    }
}
