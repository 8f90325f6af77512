//! Writes a figure as SVG and PNG.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use ns_models::write_atomically;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};
use serde::{Deserialize, Serialize};

use super::canvas::{self, Canvas, Drawn, UNITS_PER_PIXEL};
use super::error::FigureError;
use super::frame::draw_title;
use super::theme::TITLE;

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
#[non_exhaustive]
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

    /// Returns `path` with the extension of this format appended.
    pub fn appended_to(self, path: impl AsRef<Path>) -> PathBuf {
        let mut path = path.as_ref().as_os_str().to_owned();
        path.push(format!(".{}", self.extension()));
        path.into()
    }
}

/// Writes a figure with a title to `<folder>/<stem>.svg` and `<folder>/<stem>.png`. `size` is its width and height in
/// pixels, and `draw` draws everything below the title.
///
/// # Errors
/// Returns [`FigureError::InvalidStem`] if the stem is not a file name, [`FigureError::Draw`] if drawing fails, and
/// [`FigureError::Write`] if a file or the folder cannot be written.
pub(super) fn save(
    folder: &Path,
    stem: &str,
    title: &str,
    size: (i32, i32),
    draw: impl Fn(&mut Canvas<'_>) -> Drawn,
) -> Result<(), FigureError> {
    if stem.is_empty() || stem.contains(['/', '\\', '\0']) {
        return Err(FigureError::InvalidStem { stem: stem.to_owned() });
    }
    let draw = |canvas: &mut Canvas<'_>| draw_title(TITLE, canvas, title, size.0).and_then(|()| draw(canvas));
    let path = folder.join(stem);
    ImageFormat::ALL.into_iter().try_for_each(|format| save_as(&format.appended_to(&path), format, size, draw))
}

/// Writes a figure to one file. `size` is its width and height in pixels, and `draw` draws everything except the
/// background.
///
/// # Errors
/// Returns [`FigureError::Draw`] if drawing fails and [`FigureError::Write`] if the file or its folder cannot be
/// written.
pub(super) fn save_as(
    path: &Path,
    format: ImageFormat,
    size: (i32, i32),
    draw: impl Fn(&mut Canvas<'_>) -> Drawn,
) -> Result<(), FigureError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| write_error(folder, source))?;
    }
    let svg = svg_of(path, size, draw)?;
    let written = match format {
        ImageFormat::Svg => write_atomically(path, svg.as_bytes()),
        ImageFormat::Png => write_atomically(path, &png_of(path, size, &svg)?),
    };
    written.map_err(|source| write_error(path, source))
}

/// Draws a figure as SVG. Its text remains text, in the viewer's `sans-serif` font.
fn svg_of(path: &Path, size: (i32, i32), draw: impl Fn(&mut Canvas<'_>) -> Drawn) -> Result<String, FigureError> {
    let svg = canvas::svg(size, draw).map_err(|source| draw_error(path, source))?;
    let drawn_size = format!("width=\"{}\" height=\"{}\"", size.0 * UNITS_PER_PIXEL, size.1 * UNITS_PER_PIXEL);
    // The size may be odd; rounding it would blur every edge of the PNG.
    let [shown_width, shown_height] = [size.0, size.1].map(|size| f64::from(size) / PIXELS_PER_CSS_PIXEL);
    let shown_size = format!("width=\"{shown_width}\" height=\"{shown_height}\"");
    Ok(svg.replacen(&drawn_size, &shown_size, 1))
}

/// Rasterises the SVG of a figure, with the embedded font for its text.
fn png_of(path: &Path, (width, height): (i32, i32), svg: &str) -> Result<Vec<u8>, FigureError> {
    let options = Options { fontdb: FONTS.clone(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|source| draw_error(path, source))?;
    let pixmap = Pixmap::new(width as u32, height as u32);
    let mut pixmap = pixmap.ok_or_else(|| draw_error(path, std::io::Error::other("the figure has no pixels")))?;
    let scale = Transform::from_scale(PIXELS_PER_CSS_PIXEL as f32, PIXELS_PER_CSS_PIXEL as f32);
    resvg::render(&tree, scale, &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|source| draw_error(path, source))
}

fn write_error(path: &Path, source: std::io::Error) -> FigureError {
    FigureError::Write { path: path.to_owned(), source }
}

fn draw_error(path: &Path, source: impl Error + Send + Sync + 'static) -> FigureError {
    FigureError::Draw { path: path.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
pub(in crate::report) mod tests;
