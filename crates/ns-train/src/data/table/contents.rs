//! What the readers of all formats fill: columns of cells, and the place of each row in the file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::column::Cells;
use crate::error::TrainError;

/// The columns that are read, and the line of each row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Names of the columns that are read, in the order of the file.
    pub(super) columns: Vec<String>,
    /// Cells of each of these columns.
    pub(super) cells: Vec<Cells>,
    /// Line of the file on which each row starts; for Parquet the row. Both are counted from 1.
    pub(super) lines: Vec<usize>,
}

impl Contents {
    /// No rows, and the columns of `header` that are in `asked`; all columns if `asked` is `None`. Also returns, for
    /// each column of the header, its index among the columns that are read.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] for a repeated name in the header, and [`TrainError::DataColumn`] for an asked
    /// column that is not in it.
    pub(super) fn new(
        path: &Path,
        header: &[String],
        asked: Option<&[&str]>,
    ) -> Result<(Self, Vec<Option<usize>>), TrainError> {
        let mut known = HashSet::new();
        if let Some(name) = header.iter().find(|name| !known.insert(name.as_str())) {
            return Err(repeated(path, None, name));
        }
        if let Some(name) = asked.into_iter().flatten().find(|name| !known.contains(*name)) {
            return Err(missing(path, name, header));
        }
        let asked: Option<HashSet<&str>> = asked.map(|names| names.iter().copied().collect());
        let mut columns: Vec<String> = Vec::new();
        let indices = header.iter().map(|name| {
            let read = asked.as_ref().is_none_or(|asked| asked.contains(name.as_str()));
            read.then(|| {
                columns.push(name.clone());
                columns.len() - 1
            })
        });
        let indices = indices.collect();
        let cells = vec![Cells::default(); columns.len()];
        Ok((Self { columns, cells, lines: Vec::new() }, indices))
    }
}

/// The error for a column that is not in the file.
pub(super) fn missing(path: &Path, column: &str, header: &[String]) -> TrainError {
    TrainError::DataColumn { path: path.into(), column: column.into(), found: header.to_vec() }
}

/// The error for a column name that occurs twice.
pub(super) fn repeated(path: &Path, line: Option<usize>, name: &str) -> TrainError {
    let expected = "it occurs twice; column names must be unique";
    invalid(path, line, "a column name", format!("`{name}`"), expected)
}

/// The error for a file that is not in the format that its extension implies.
pub(super) fn format_error(path: &Path, reason: impl Into<String>) -> TrainError {
    TrainError::DataFormat { path: path.into(), reason: reason.into() }
}

/// The error for an unusable value in a data file.
pub(in crate::data) fn invalid(
    path: &Path,
    line: Option<usize>,
    what: &'static str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> TrainError {
    TrainError::Data { path: path.into(), line, what, found: found.into(), expected: expected.into() }
}

/// Opens a text file after its byte-order mark.
pub(super) fn open_text(path: &Path) -> Result<BufReader<File>, TrainError> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    let io = || TrainError::io("read", path);
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(io())?);
    if file.fill_buf().map_err(io())?.starts_with(BYTE_ORDER_MARK) {
        file.consume(BYTE_ORDER_MARK.len());
    }
    Ok(file)
}

/// Number of line breaks.
pub(super) fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}
