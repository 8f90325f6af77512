//! Errors of drawing and writing figures.

use std::path::PathBuf;

use thiserror::Error;

/// Error of drawing or writing a figure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FigureError {
    /// The stem is empty or contains a path separator or a NUL character.
    #[error("`{stem}` is not a valid figure name; pass a file name without folder and extension")]
    InvalidStem {
        /// The stem as given.
        stem: String,
    },
    /// The data has more items than fit in a legible figure.
    #[error("a figure can show at most {limit} {what}, but {found} were given; split them into several figures")]
    TooMany {
        /// The items that are too many, such as `rows`.
        what: &'static str,
        /// The number of items given.
        found: usize,
        /// The largest number of items.
        limit: usize,
    },
    /// The requested size is too small for the cells of the figure.
    #[error(
        "a figure of {width} × {height} pixels is too small for {rows} rows of {columns} cells; set a larger figsize, \
         or remove figsize to use the size that fits"
    )]
    TooSmall {
        /// Requested width in pixels.
        width: i32,
        /// Requested height in pixels.
        height: i32,
        /// Number of rows.
        rows: usize,
        /// Number of cells per row.
        columns: usize,
    },
    /// The drawing library failed.
    #[error("cannot draw `{}`", path.display())]
    Draw {
        /// Path of the figure.
        path: PathBuf,
        /// Error of the drawing library.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file or folder could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
}

/// Checks that `found` is at most `limit`.
///
/// # Errors
/// Returns [`FigureError::TooMany`] if it is larger.
pub(super) fn check_number(what: &'static str, found: usize, limit: usize) -> Result<(), FigureError> {
    if found > limit {
        return Err(FigureError::TooMany { what, found, limit });
    }
    Ok(())
}
