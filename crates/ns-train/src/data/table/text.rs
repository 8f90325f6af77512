//! Reads plain text, one row per line.

use std::io::BufRead;
use std::path::Path;

use super::contents::{Contents, format_error, open_text};
use crate::error::TrainError;

/// The only column.
const COLUMN: &str = "text";

/// Reads a file as a table with the column `text`. Blank lines are skipped, and line breaks are not part of a row.
pub(super) fn read(path: &Path, asked: Option<&[&str]>) -> Result<Contents, TrainError> {
    let mut file = open_text(path)?;
    let (mut contents, columns) = Contents::new(path, &[COLUMN.to_owned()], asked)?;
    let (mut bytes, mut line) = (Vec::new(), 0);
    loop {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(TrainError::io("read", path))? == 0 {
            return Ok(contents);
        }
        line += 1;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let at = error.valid_up_to() + 1;
            format_error(path, format!("line {line} is not UTF-8, from its byte {at} on; convert the file to UTF-8"))
        })?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() {
            continue;
        }
        for column in columns.iter().flatten() {
            contents.cells[*column].push(text);
        }
        contents.lines.push(line);
    }
}

#[cfg(test)]
mod tests {
    use crate::data::Table;
    use crate::data::fixtures::file;

    #[test]
    fn each_line_with_text_is_a_row() {
        let (_folder, path) = file("a.txt", "\u{feff}one, two\r\n\n  \n three \"x\"\n");
        let table = Table::read(&path).unwrap();
        assert_eq!(table.columns(), ["text"]);
        assert_eq!(table.column("text").unwrap().iter().collect::<Vec<_>>(), ["one, two", " three \"x\""]);
        assert_eq!([table.line(0), table.line(1)], [1, 4]);
        assert!(Table::read_columns(&path, &["label"]).unwrap_err().to_string().contains("its columns are `text`"));
    }

    #[test]
    fn another_encoding_is_named_with_its_line() {
        let (_folder, path) = file("a.txt", b"one\ncaf\xe9\n");
        let error = Table::read(&path).unwrap_err().to_string();
        assert!(error.contains("line 2 is not UTF-8, from its byte 4 on"), "{error}");
        let (_folder, path) = file("a.txt", "\n \n");
        assert!(Table::read(&path).unwrap_err().to_string().contains("the table is empty"));
    }
}
