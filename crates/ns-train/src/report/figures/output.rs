//! Writes a figure as SVG and PNG.

use std::error::Error;
use std::fs;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use ns_models::write_atomically;
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use serde::{Deserialize, Serialize};

use super::canvas::{Canvas, Drawn};
use super::error::FigureError;

/// Scale at which a PNG is drawn before it is averaged down to its size. plotters does not smooth edges; averaging
/// does.
const OVERSAMPLING: u32 = 2;
/// Units of the SVG per pixel of the figure. plotters rounds coordinates to whole units, so the units are finer than
/// pixels.
const UNITS_PER_PIXEL: u32 = 4;
/// Pixels of the figure per CSS pixel of the SVG.
const PIXELS_PER_CSS_PIXEL: u32 = 2;

/// File format of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// Vector graphics; text remains text.
    Svg,
    /// Bitmap.
    Png,
}

impl ImageFormat {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Svg, Self::Png];

    /// The file name extension, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

/// A figure of a given size that can be drawn on a [`Canvas`].
pub(super) trait Figure {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws everything except the background.
    fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Drawn<B>;
}

/// Writes `figure` to `<folder>/<stem>.svg` and `<folder>/<stem>.png`.
///
/// # Errors
/// Returns [`FigureError::InvalidStem`] if the stem is not a file name, [`FigureError::Draw`] if drawing fails, and
/// [`FigureError::Write`] if a file or the folder cannot be written.
pub(super) fn save(folder: &Path, stem: &str, figure: &impl Figure) -> Result<(), FigureError> {
    if stem.is_empty() || stem.contains(['/', '\\', '\0']) {
        return Err(FigureError::InvalidStem { stem: stem.to_owned() });
    }
    fs::create_dir_all(folder).map_err(|source| write_error(folder, source))?;
    save_svg(&folder.join(format!("{stem}.svg")), figure)?;
    save_png(&folder.join(format!("{stem}.png")), figure)
}

/// Writes `figure` to one file.
///
/// # Errors
/// Returns [`FigureError::Draw`] if drawing fails and [`FigureError::Write`] if the file or its folder cannot be
/// written.
pub(super) fn save_as(path: &Path, format: ImageFormat, figure: &impl Figure) -> Result<(), FigureError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| write_error(folder, source))?;
    }
    match format {
        ImageFormat::Svg => save_svg(path, figure),
        ImageFormat::Png => save_png(path, figure),
    }
}

fn save_svg(path: &Path, figure: &impl Figure) -> Result<(), FigureError> {
    let (width, height) = figure.size();
    let units = (width * UNITS_PER_PIXEL, height * UNITS_PER_PIXEL);
    let mut svg = String::new();
    let backend = SVGBackend::with_string(&mut svg, units);
    draw_all(Canvas::vector(backend, UNITS_PER_PIXEL as i32), figure).map_err(|source| draw_error(path, source))?;
    let drawn_size = format!("width=\"{}\" height=\"{}\"", units.0, units.1);
    let shown_size = format!("width=\"{}\" height=\"{}\"", width / PIXELS_PER_CSS_PIXEL, height / PIXELS_PER_CSS_PIXEL);
    let svg = svg.replacen(&drawn_size, &shown_size, 1);
    write_atomically(path, svg.as_bytes()).map_err(|source| write_error(path, source))
}

fn save_png(path: &Path, figure: &impl Figure) -> Result<(), FigureError> {
    let size = figure.size();
    let large = (size.0 * OVERSAMPLING, size.1 * OVERSAMPLING);
    let mut pixels = vec![255; 3 * large.0 as usize * large.1 as usize];
    let backend = BitMapBackend::with_buffer(&mut pixels, large);
    draw_all(Canvas::raster(backend, OVERSAMPLING as i32), figure).map_err(|source| draw_error(path, source))?;
    let pixels = average(&pixels, large.0 as usize);
    let mut png = Vec::new();
    let encoder = PngEncoder::new(&mut png);
    encoder.write_image(&pixels, size.0, size.1, ExtendedColorType::Rgb8).map_err(|source| draw_error(path, source))?;
    write_atomically(path, &png).map_err(|source| write_error(path, source))
}

fn draw_all<B: DrawingBackend>(mut canvas: Canvas<B>, figure: &impl Figure) -> Drawn<B> {
    canvas.background()?;
    figure.draw(&mut canvas)?;
    canvas.finish()
}

/// Averages squares of `OVERSAMPLING` × `OVERSAMPLING` pixels of an RGB image that is `width` pixels wide.
fn average(pixels: &[u8], width: usize) -> Vec<u8> {
    let block = OVERSAMPLING as usize;
    let (row, blocks) = (3 * width, width / block);
    let mut means = Vec::with_capacity(pixels.len() / (block * block));
    for rows in pixels.chunks_exact(row * block) {
        for column in 0..blocks {
            for channel in 0..3 {
                let first = 3 * block * column + channel;
                let sum: usize = (0..block * block)
                    .map(|index| usize::from(rows[first + row * (index / block) + 3 * (index % block)]))
                    .sum();
                means.push((sum / (block * block)) as u8);
            }
        }
    }
    means
}

fn write_error(path: &Path, source: std::io::Error) -> FigureError {
    FigureError::Write { path: path.to_owned(), source }
}

fn draw_error(path: &Path, source: impl Error + Send + Sync + 'static) -> FigureError {
    FigureError::Draw { path: path.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
pub(super) mod tests;
