//! Reads tables of cells that are separated by commas or tabs, with a header.

use std::io::{self, BufRead};
use std::path::Path;

use csv_core::ReadRecordResult;

use super::contents::{Contents, format_error, invalid, newlines, open_text};
use crate::error::TrainError;

/// Reads a file whose first record holds the names of the columns. Cells can be quoted (RFC 4180) and then hold
/// separators and line breaks. Blank lines are skipped.
pub(super) fn read(path: &Path, separator: u8, asked: Option<&[&str]>) -> Result<Contents, TrainError> {
    let mut records = Records::new(open_text(path)?, separator);
    if !records.advance(path)? {
        return Ok(Contents::default());
    }
    let header = (0..records.len()).map(|index| records.field(path, index).map(Into::into));
    let header = header.collect::<Result<Vec<String>, TrainError>>()?;
    let (mut contents, indices) = Contents::new(path, &header, asked)?;
    while records.advance(path)? {
        let line = records.line;
        if records.len() != header.len() {
            let found = format!("{} fields long", records.len());
            return Err(invalid(path, Some(line), "a row", found, format!("the header has {} columns", header.len())));
        }
        for (index, column) in indices.iter().enumerate() {
            let field = records.field(path, index)?;
            if let Some(column) = column {
                contents.cells[*column].push(field);
            }
        }
        contents.lines.push(line);
    }
    Ok(contents)
}

/// The records of a file, one at a time. The lines that `csv::Reader` gives are too low behind blank lines and in files
/// with CRLF, so this counts them.
struct Records<R> {
    input: R,
    parser: csv_core::Reader,
    /// Contents of all fields of the record, at the start of a buffer.
    bytes: Vec<u8>,
    /// Ends of the fields in `bytes`, at the start of a buffer.
    ends: Vec<usize>,
    fields: usize,
    /// Line on which the record starts, counted from 1.
    line: usize,
}

impl<R: BufRead> Records<R> {
    fn new(input: R, separator: u8) -> Self {
        let parser = csv_core::ReaderBuilder::new().delimiter(separator).build();
        Self { input, parser, bytes: vec![0; 1 << 12], ends: vec![0; 1 << 6], fields: 0, line: 1 }
    }

    /// Goes to the next record. False at the end of the file.
    fn advance(&mut self, path: &Path) -> Result<bool, TrainError> {
        self.skip_line_breaks().map_err(TrainError::io("read", path))?;
        self.line = self.parser.line() as usize;
        let (mut length, mut last) = (0, 0);
        self.fields = 0;
        loop {
            let input = self.input.fill_buf().map_err(TrainError::io("read", path))?;
            let at_end = input.is_empty();
            let (bytes, ends) = (&mut self.bytes[length..], &mut self.ends[self.fields..]);
            let (result, read, written, fields) = self.parser.read_record(input, bytes, ends);
            last = input[..read].last().copied().unwrap_or(last);
            self.input.consume(read);
            (length, self.fields) = (length + written, self.fields + fields);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.bytes.resize(2 * self.bytes.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record if at_end && last != b'"' && newlines(self.bytes_of(self.fields - 1)) > 0 => {
                    let reason = format!("a quoted cell in the row of line {} does not end", self.line);
                    return Err(format_error(path, reason));
                }
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    /// Skips blank lines, and the end of the record before them.
    fn skip_line_breaks(&mut self) -> io::Result<()> {
        loop {
            let input = self.input.fill_buf()?;
            let skipped = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let all = skipped == input.len() && skipped > 0;
            self.parser.set_line(self.parser.line() + newlines(&input[..skipped]) as u64);
            self.input.consume(skipped);
            if !all {
                return Ok(());
            }
        }
    }

    /// Number of fields of the record.
    fn len(&self) -> usize {
        self.fields
    }

    fn bytes_of(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// A field of the record.
    fn field(&self, path: &Path, index: usize) -> Result<&str, TrainError> {
        std::str::from_utf8(self.bytes_of(index)).map_err(|error| {
            let before = self.ends[..index].last().copied().unwrap_or_default() + error.valid_up_to();
            format_error(path, format!("line {} is not UTF-8", self.line + newlines(&self.bytes[..before])))
        })
    }
}
