//! Writes a figure as SVG and PNG.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use ns_models::write_atomically;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};
use serde::{Deserialize, Serialize};

use super::canvas::{Canvas, Drawn};
use super::error::FigureError;

/// Units of the SVG per pixel of the figure. plotters rounds coordinates to whole units, so the units are finer than
/// pixels.
const UNITS_PER_PIXEL: u32 = 4;
/// Pixels of the figure per CSS pixel of the SVG.
const PIXELS_PER_CSS_PIXEL: f64 = 2.0;

/// The embedded font, which a PNG has for `sans-serif`.
static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    Arc::new(fonts)
});

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
    fn draw(&self, canvas: &mut Canvas<'_>) -> Drawn;
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
    let svg = svg_of(&folder.join(stem), figure)?;
    ImageFormat::ALL
        .into_iter()
        .try_for_each(|format| write(&folder.join(format!("{stem}.{}", format.extension())), format, figure, &svg))
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
    write(path, format, figure, &svg_of(path, figure)?)
}

/// Draws `figure` as SVG. Its text remains text, in the viewer's `sans-serif` font.
fn svg_of(path: &Path, figure: &impl Figure) -> Result<String, FigureError> {
    let (width, height) = figure.size();
    let mut svg = String::new();
    let mut canvas = Canvas::new(&mut svg, (width, height), UNITS_PER_PIXEL);
    let drawn = canvas.background().and_then(|()| figure.draw(&mut canvas)).and_then(|()| canvas.finish());
    drawn.map_err(|source| draw_error(path, source))?;
    let drawn_size = format!("width=\"{}\" height=\"{}\"", width * UNITS_PER_PIXEL, height * UNITS_PER_PIXEL);
    // The size may be odd; rounding it would blur every edge of the PNG.
    let [shown_width, shown_height] = [width, height].map(|size| f64::from(size) / PIXELS_PER_CSS_PIXEL);
    let shown_size = format!("width=\"{shown_width}\" height=\"{shown_height}\"");
    Ok(svg.replacen(&drawn_size, &shown_size, 1))
}

/// Rasterises the SVG of `figure`, with the embedded font for its text.
fn png_of(path: &Path, figure: &impl Figure, svg: &str) -> Result<Vec<u8>, FigureError> {
    let options = Options { fontdb: FONTS.clone(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|source| draw_error(path, source))?;
    let (width, height) = figure.size();
    let pixmap = Pixmap::new(width, height);
    let mut pixmap = pixmap.ok_or_else(|| draw_error(path, std::io::Error::other("the figure has no pixels")))?;
    let scale = Transform::from_scale(PIXELS_PER_CSS_PIXEL as f32, PIXELS_PER_CSS_PIXEL as f32);
    resvg::render(&tree, scale, &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|source| draw_error(path, source))
}

/// Writes the SVG of `figure`, or its PNG.
fn write(path: &Path, format: ImageFormat, figure: &impl Figure, svg: &str) -> Result<(), FigureError> {
    let written = match format {
        ImageFormat::Svg => write_atomically(path, svg.as_bytes()),
        ImageFormat::Png => write_atomically(path, &png_of(path, figure, svg)?),
    };
    written.map_err(|source| write_error(path, source))
}

fn write_error(path: &Path, source: std::io::Error) -> FigureError {
    FigureError::Write { path: path.to_owned(), source }
}

fn draw_error(path: &Path, source: impl Error + Send + Sync + 'static) -> FigureError {
    FigureError::Draw { path: path.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
pub(super) mod tests;
