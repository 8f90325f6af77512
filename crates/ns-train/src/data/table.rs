//! Tables of strings, read from CSV files with a header or from JSON-lines files.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::TrainError;

/// A table of strings with named columns. Each row has the line number of the file, for error messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    fields: Vec<String>,
}

impl Table {
    /// Reads a table from a file.
    ///
    /// - `.csv`: the first row holds the names of the columns.
    /// - `.jsonl`: one object per line. The keys of the first object are the columns. Values other than strings are
    ///   kept in JSON syntax.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if the file cannot be read, [`TrainError::DataFormat`] if it is not UTF-8, CSV or
    /// JSON, and [`TrainError::Data`] for another file extension, a table without rows, a repeated column name, or a
    /// row with missing or extra fields.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(TrainError::io("read", path))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = 1 + newlines(&bytes[..error.valid_up_to()]);
            TrainError::DataFormat { path: path.into(), reason: format!("line {line} is not UTF-8") }
        })?;
        let text = text.trim_start_matches('\u{feff}');
        let table = match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Self::parse_csv(path, text)?,
            Some("jsonl") => Self::parse_json_lines(path, text)?,
            extension => {
                let found = extension.map_or_else(|| "missing".into(), |extension| format!(".{extension}"));
                return Err(invalid(path, None, "the file extension", found, "it must be .csv or .jsonl"));
            }
        };
        table.check()?;
        Ok(table)
    }

    fn parse_csv(path: &Path, text: &str) -> Result<Self, TrainError> {
        let syntax = |error: csv::Error| TrainError::DataFormat { path: path.into(), reason: error.to_string() };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let columns: Vec<String> = reader.headers().map_err(syntax)?.iter().map(Into::into).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(syntax)?;
            let line = record.position().map_or(0, |position| position.line() as usize);
            if record.len() != columns.len() {
                let found = format!("{} fields long", record.len());
                let expected = format!("the header has {} columns", columns.len());
                return Err(invalid(path, Some(line), "a row", found, expected));
            }
            rows.push(Row { line, fields: record.iter().map(Into::into).collect() });
        }
        Ok(Self { path: path.into(), columns, rows })
    }

    fn parse_json_lines(path: &Path, text: &str) -> Result<Self, TrainError> {
        let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Map<String, Value>>();
        let mut columns: Vec<String> = Vec::new();
        let mut rows = Vec::new();
        let (mut line, mut read) = (1, 0);
        while let Some(object) = objects.next() {
            let object = object.map_err(|error| TrainError::DataFormat {
                path: path.into(),
                reason: format!("it is not in JSON-lines format: {error}"),
            })?;
            let end = objects.byte_offset();
            line += newlines(&text.as_bytes()[read..end]);
            read = end;
            if rows.is_empty() {
                columns = object.keys().cloned().collect();
            }
            rows.push(Row { line, fields: fields(path, line, &columns, object)? });
        }
        Ok(Self { path: path.into(), columns, rows })
    }

    fn check(&self) -> Result<(), TrainError> {
        if self.rows.is_empty() {
            return Err(invalid(&self.path, None, "the table", "empty", "it must have at least one row"));
        }
        let repeated = self.columns.iter().enumerate().find(|(index, name)| self.columns[..*index].contains(name));
        match repeated {
            Some((_, name)) => {
                let expected = "it occurs twice; column names must be unique";
                Err(invalid(&self.path, None, "a column name", format!("`{name}`"), expected))
            }
            None => Ok(()),
        }
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the columns: in the order of the header for CSV, in alphabetical order for JSON lines.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows. False for every table that [`Table::read`] returns.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The values of a column, one per row.
    ///
    /// # Errors
    /// Returns [`TrainError::DataColumn`], which lists the existing columns, if there is no such column.
    pub fn column(&self, name: &str) -> Result<Vec<&str>, TrainError> {
        match self.columns.iter().position(|column| column == name) {
            Some(index) => Ok(self.rows.iter().map(|row| row.fields[index].as_str()).collect()),
            None => Err(TrainError::DataColumn {
                path: self.path.clone(),
                column: name.into(),
                found: self.columns.clone(),
            }),
        }
    }

    /// Line of the file on which a row starts, counted from 1; 0 if there is no such row.
    pub fn line(&self, row: usize) -> usize {
        self.rows.get(row).map_or(0, |row| row.line)
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

/// The values of a JSON object in the order of the columns. A `null` counts as missing.
fn fields(
    path: &Path,
    line: usize,
    columns: &[String],
    mut object: Map<String, Value>,
) -> Result<Vec<String>, TrainError> {
    let mut fields = Vec::with_capacity(columns.len());
    for column in columns {
        match object.remove(column) {
            Some(Value::String(text)) => fields.push(text),
            None | Some(Value::Null) => {
                let found = format!("an object without `{column}`");
                return Err(invalid(path, Some(line), "a row", found, "every row must have this key"));
            }
            Some(value) => fields.push(value.to_string()),
        }
    }
    match object.keys().next() {
        Some(key) => {
            let found = format!("an object with `{key}`");
            Err(invalid(path, Some(line), "a row", found, "the first row does not have this key"))
        }
        None => Ok(fields),
    }
}

/// Number of line breaks.
fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// The error for an unusable value in a data file.
pub(super) fn invalid(
    path: &Path,
    line: Option<usize>,
    what: &'static str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> TrainError {
    TrainError::Data { path: path.into(), line, what, found: found.into(), expected: expected.into() }
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
        assert!(matches!(Table::read("absent.csv"), Err(TrainError::Io { .. })));
    }
}
