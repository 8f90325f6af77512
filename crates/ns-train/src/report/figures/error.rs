//! What can go wrong when a figure is written.

use std::path::PathBuf;

use thiserror::Error;

/// Why a figure could not be written.
#[derive(Debug, Error)]
pub enum FigureError {
    /// The stem is not the plain name of a file.
    #[error("`{stem}` cannot name a figure: give a file name without folder and extension")]
    InvalidStem {
        /// The stem as given.
        stem: String,
    },
    /// More than a legible figure can hold.
    #[error("{found} {what} are too many for one figure (at most {limit}): split them up")]
    TooMany {
        /// What there is too much of, such as `rows`.
        what: &'static str,
        /// The number given.
        found: usize,
        /// The number that fits.
        limit: usize,
    },
    /// The figure asked for has no room for what is in it.
    #[error(
        "{width} × {height} pixels have no room for {rows} rows of {columns} cells: give a larger figsize, or none for one that fits"
    )]
    TooSmall {
        /// Width asked for.
        width: i32,
        /// Height asked for.
        height: i32,
        /// Rows of the figure.
        rows: usize,
        /// Cells a row.
        columns: usize,
    },
    /// The drawing itself failed.
    #[error("cannot draw {}", path.display())]
    Draw {
        /// The figure being drawn.
        path: PathBuf,
        /// What the drawing library reported.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system reported.
        source: std::io::Error,
    },
}

/// Fails when `found` is above `limit`.
pub(super) fn check_number(what: &'static str, found: usize, limit: usize) -> Result<(), FigureError> {
    if found > limit {
        return Err(FigureError::TooMany { what, found, limit });
    }
    Ok(())
}
