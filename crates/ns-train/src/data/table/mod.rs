//! Tables of strings, read from CSV, TSV, JSON-lines and Parquet files.

mod column;
mod contents;
mod csv;
mod json_lines;
mod parquet;

use std::path::{Path, PathBuf};

pub use column::Column;
use contents::Contents;
pub(super) use contents::invalid;

use crate::error::TrainError;

/// A table of strings with named columns. Each row has its line in the file, for error messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    path: PathBuf,
    contents: Contents,
}

impl Table {
    /// Reads a table from a file, by its extension. Text files are UTF-8, with or without a byte-order mark.
    ///
    /// - `.csv` and `.tsv`: the first row holds the names of the columns. Cells can be quoted.
    /// - `.jsonl`: one object per line. The keys of the first object are the columns.
    /// - `.parquet`: uncompressed or compressed with Snappy, gzip or zstd. Columns hold text (or binary data that is
    ///   UTF-8), numbers, booleans, or lists of them.
    ///
    /// Numbers and booleans are kept as text: those of JSON lines as the file writes them, floating-point numbers of
    /// Parquet in the shortest form that is exact. Lists are kept in JSON syntax without spaces.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if the file cannot be read, [`TrainError::DataFormat`] if it is not in the format of
    /// its extension, and [`TrainError::Data`] for another file extension, a table without rows, a repeated column
    /// name, a row with missing or extra fields, a missing value (null), or a Parquet column of another type.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        Self::read_some(path, None)
    }

    /// Reads some columns of a table. A name may be repeated. Other columns of JSON lines may be missing in some rows,
    /// and other columns of Parquet may have any type.
    ///
    /// # Errors
    /// Returns [`TrainError::DataColumn`] if one of the columns does not exist, and the errors of [`Table::read`].
    pub fn read_columns(path: &Path, columns: &[&str]) -> Result<Self, TrainError> {
        Self::read_some(path, Some(columns))
    }

    fn read_some(path: &Path, asked: Option<&[&str]>) -> Result<Self, TrainError> {
        let mut contents = match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => csv::read(path, b',', asked)?,
            Some("tsv") => csv::read(path, b'\t', asked)?,
            Some("jsonl") => json_lines::read(path, asked)?,
            Some("parquet") => parquet::read(path, asked)?,
            extension => {
                let found = extension.map_or_else(|| "missing".into(), |extension| format!(".{extension}"));
                let expected = "it must be .csv, .tsv, .jsonl or .parquet";
                return Err(invalid(path, None, "the file extension", found, expected));
            }
        };
        if contents.lines.is_empty() {
            return Err(invalid(path, None, "the table", "empty", "it must have at least one row"));
        }
        contents.cells.iter_mut().for_each(column::Cells::shrink);
        Ok(Self { path: path.into(), contents })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the columns that were read, in the order of the file.
    pub fn columns(&self) -> &[String] {
        &self.contents.columns
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.contents.lines.len()
    }

    /// Whether there are no rows. False for every table that [`Table::read`] returns.
    pub fn is_empty(&self) -> bool {
        self.contents.lines.is_empty()
    }

    /// The values of a column, one per row.
    ///
    /// # Errors
    /// Returns [`TrainError::DataColumn`], which lists the columns that were read, if there is no such column.
    pub fn column(&self, name: &str) -> Result<Column<'_>, TrainError> {
        let columns = self.columns();
        match columns.iter().position(|column| column == name) {
            Some(index) => Ok(self.contents.cells[index].column()),
            None => Err(contents::missing(&self.path, name, columns)),
        }
    }

    /// Line of the file on which a row starts, for Parquet the row; counted from 1. 0 if there is no such row.
    pub fn line(&self, row: usize) -> usize {
        self.contents.lines.get(row).copied().unwrap_or_default()
    }

    /// The error for an unusable value in a row.
    pub(super) fn invalid(
        &self,
        row: usize,
        what: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> TrainError {
        invalid(&self.path, Some(self.line(row)), what, found, expected)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::file;
    use super::*;

    fn read(name: &str, contents: impl AsRef<[u8]>) -> Result<Table, TrainError> {
        let (_folder, path) = file(name, contents);
        Table::read(&path)
    }

    fn error(name: &str, contents: impl AsRef<[u8]>) -> TrainError {
        read(name, contents).unwrap_err()
    }

    #[test]
    fn csv_and_json_lines_say_the_same() {
        let csv = read("a.csv", "\u{feff}text,label\n\"one, \"\"two\"\"\nthree\",4\nünï,x\n").unwrap();
        let json = read(
            "a.jsonl",
            "{\"text\": \"one, \\\"two\\\"\\nthree\", \"label\": 4}\n\n{\"label\": \"x\", \"text\": \"ünï\"}",
        )
        .unwrap();
        for table in [&csv, &json] {
            assert_eq!((table.len(), table.is_empty()), (2, false));
            assert_eq!(table.column("text").unwrap(), ["one, \"two\"\nthree", "ünï"]);
            assert_eq!(table.column("label").unwrap(), ["4", "x"]);
        }
        assert_eq!(csv.columns(), ["text", "label"]);
        assert_eq!([csv.line(0), csv.line(1), json.line(0), json.line(1), csv.line(2)], [2, 4, 1, 3, 0]);
    }

    #[test]
    fn a_missing_column_names_those_that_there_are() {
        let table = read("a.csv", "text,label\na,b\n").unwrap();
        let error = table.column("sentence").unwrap_err();
        assert!(matches!(&error, TrainError::DataColumn { column, found, .. }
                if column == "sentence" && found == &["text", "label"]));
        assert!(error.to_string().ends_with("has no column `sentence`; its columns are `text`, `label`"), "{error}");
    }

    #[test]
    fn a_row_of_another_length_is_found() {
        for (name, contents, expected_line, expected) in [
            ("a.csv", "a,b\n1,2\n3\n", 3, "1 fields long"),
            ("a.csv", "a,b\n\"x\ny\",2\n3,4,5\n", 4, "3 fields long"),
            ("a.jsonl", "{\"a\": 1, \"b\": 2}\n{\"a\": 1}\n", 2, "an object without `b`"),
            ("a.jsonl", "{\"a\": 1, \"b\": 2}\n{\"a\": 1, \"b\": null}\n", 2, "an object without `b`"),
            ("a.jsonl", "{\"a\": 1}\n\n{\"a\": 1, \"c\": 3}\n", 3, "an object with `c`"),
        ] {
            let error = error(name, contents);
            assert!(
                matches!(&error, TrainError::Data { line: Some(line), what: "a row", found, .. }
                    if *line == expected_line && found == expected),
                "{error}"
            );
        }
    }

    #[test]
    fn an_empty_file_is_refused() {
        for (name, contents) in [("a.csv", ""), ("a.csv", "a,b\n"), ("a.jsonl", ""), ("a.jsonl", "\n\n")] {
            assert!(matches!(error(name, contents), TrainError::Data { what: "the table", .. }));
        }
    }

    #[test]
    fn a_column_cannot_have_two_meanings() {
        let error = error("a.csv", "a,b,a\n1,2,3\n");
        assert!(matches!(&error, TrainError::Data { what: "a column name", found, .. } if found == "`a`"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (name, contents, expected) in [
            ("a.csv", &b"a,b\n1,2\n3,\xff\n"[..], "line 3 is not UTF-8"),
            ("a.jsonl", b"{\"a\": 1}\n{\"a\": }\n", "line 2"),
            ("a.jsonl", b"{\"a\": 1}\n[1]\n", "line 2"),
        ] {
            let error = error(name, contents);
            assert!(matches!(&error, TrainError::DataFormat { reason, .. } if reason.contains(expected)), "{error}");
        }
        assert!(matches!(error("a.txt", "a"), TrainError::Data { what: "the file extension", .. }));
        assert!(matches!(Table::read("absent.csv".as_ref()), Err(TrainError::Io { .. })));
    }
}
