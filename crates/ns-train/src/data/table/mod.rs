//! Tables of strings, read from CSV, TSV, JSON-lines, Parquet and plain text files.

mod column;
mod contents;
mod csv;
mod json_lines;
mod parquet;
mod text;
mod write;

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
    /// - `.txt`: one row per line, in the column `text`. Blank lines are skipped.
    ///
    /// Numbers and booleans are kept as text: those of JSON lines as the file writes them, floating-point numbers of
    /// Parquet in the shortest form that is exact. Lists are kept in JSON syntax without spaces.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if the file cannot be read, [`TrainError::DataFormat`] if it is not in the format of
    /// its extension, and [`TrainError::Data`] for another file extension, a table without rows, a repeated column
    /// name, a row with missing or extra fields, a missing value (null), or a Parquet column of another type.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        Self::read_some(path.as_ref(), None)
    }

    /// Reads some columns of a table. A name may be repeated. Other columns of JSON lines may be missing in some rows,
    /// and other columns of Parquet may have any type.
    ///
    /// # Errors
    /// Returns [`TrainError::DataColumn`] if one of the columns does not exist, and the errors of [`Table::read`].
    pub fn read_columns(path: impl AsRef<Path>, columns: &[&str]) -> Result<Self, TrainError> {
        Self::read_some(path.as_ref(), Some(columns))
    }

    fn read_some(path: &Path, asked: Option<&[&str]>) -> Result<Self, TrainError> {
        let mut contents = match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => csv::read(path, b',', asked)?,
            Some("tsv") => csv::read(path, b'\t', asked)?,
            Some("jsonl") => json_lines::read(path, asked)?,
            Some("parquet") => parquet::read(path, asked)?,
            Some("txt") => text::read(path, asked)?,
            extension => {
                let found = extension.map_or_else(|| "missing".into(), |extension| format!(".{extension}"));
                let expected = "it must be .csv, .tsv, .jsonl, .parquet or .txt";
                return Err(invalid(path, None, "the file extension", found, expected));
            }
        };
        if contents.lines.is_empty() {
            return Err(invalid(path, None, "the table", "empty", "it must have at least one row"));
        }
        contents.cells.iter_mut().for_each(column::Cells::shrink);
        Ok(Self { path: path.into(), contents })
    }

    /// A table without rows. `path` is the file that the rows come from.
    pub(super) fn new(path: &Path, columns: Vec<String>) -> Self {
        let cells = vec![column::Cells::default(); columns.len()];
        Self { path: path.into(), contents: Contents { columns, cells, lines: Vec::new() } }
    }

    /// Adds a row of one cell per column. Its line is the number of the row, from 1.
    pub(super) fn push(&mut self, row: &[&str]) {
        self.contents.cells.iter_mut().zip(row).for_each(|(cells, cell)| cells.push(cell));
        self.contents.lines.push(self.len() + 1);
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
    use super::parquet::fixtures::{strings, written};
    use super::*;

    fn read(name: &str, contents: impl AsRef<[u8]>) -> Result<Table, TrainError> {
        let (_folder, path) = file(name, contents);
        Table::read(&path)
    }

    fn read_columns(name: &str, contents: impl AsRef<[u8]>, columns: &[&str]) -> Result<Table, TrainError> {
        let (_folder, path) = file(name, contents);
        Table::read_columns(&path, columns)
    }

    fn error(name: &str, contents: impl AsRef<[u8]>) -> TrainError {
        read(name, contents).unwrap_err()
    }

    fn cells<'a>(table: &'a Table, column: &str) -> Vec<&'a str> {
        table.column(column).unwrap().iter().collect()
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
            assert_eq!(cells(table, "text"), ["one, \"two\"\nthree", "ünï"]);
            assert_eq!(cells(table, "label"), ["4", "x"]);
        }
        assert_eq!(csv.columns(), ["text", "label"]);
        assert_eq!([csv.line(0), csv.line(1), json.line(0), json.line(1), csv.line(2)], [2, 4, 1, 3, 0]);
    }

    /// Cells that one of the formats writes in a special way.
    const CELLS: [&str; 16] = [
        "",
        " ",
        "a",
        "1,2",
        "a\tb",
        "\"q\"",
        "\"",
        "\\",
        "two\nlines",
        "two\r\nlines",
        "\n",
        "ünï 🧠",
        "[1,2]",
        "null",
        "-1.50e3",
        "\u{feff}",
    ];

    fn separated(rows: &[[&str; 3]], separator: &str, line_break: &str) -> String {
        let quoted = |row: &[&str; 3]| row.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).join(separator);
        rows.iter().map(|row| quoted(row) + line_break).collect()
    }

    #[test]
    fn equal_contents_give_equal_tables_in_every_format() {
        let pairs = CELLS.iter().flat_map(|a| CELLS.iter().map(move |b| [*a, *b, *a]));
        let rows: Vec<[&str; 3]> = [["x", "y \"1\"", "z, z"]].into_iter().chain(pairs).collect();
        let objects = rows[1..]
            .iter()
            .map(|row| serde_json::json!({ rows[0][0]: row[0], rows[0][1]: row[1], rows[0][2]: row[2] }));
        let json: String = objects.map(|object| format!("{object}\n")).collect();
        let column = |index: usize| rows[1..].iter().map(|row| row[index]).collect::<Vec<_>>();
        let columns = [0, 1, 2].map(|index| (rows[0][index], column(index)));
        let tables = [
            read("a.csv", separated(&rows, ",", "\n")).unwrap(),
            read("a.csv", separated(&rows, ",", "\r\n").trim_end_matches("\r\n")).unwrap(),
            read("a.tsv", separated(&rows, "\t", "\n")).unwrap(),
            read("a.jsonl", json).unwrap(),
            read("a.parquet", strings(&columns)).unwrap(),
        ];
        for table in &tables {
            assert_eq!(table.columns(), rows[0]);
            assert_eq!(table.contents.cells, tables[0].contents.cells, "{}", table.path.display());
            assert!(columns.iter().all(|(name, column)| cells(table, name) == *column));
        }
        for (format, file) in [("a.csv", separated(&rows, ",", "\n").into_bytes()), ("a.parquet", strings(&columns))] {
            let table = read_columns(format, file, &["z, z", "x", "x"]).unwrap();
            assert_eq!((table.columns(), cells(&table, "z, z")), (&["x".into(), "z, z".into()][..], column(2)));
        }
    }

    #[test]
    fn lines_are_those_of_a_text_editor() {
        let rows = "\u{feff}a,b\n\n1,\"x\ny\"\n\n\n2,z\n";
        for (name, contents) in [
            ("a.csv", rows.to_string()),
            ("a.csv", rows.replace('\n', "\r\n")),
            ("a.tsv", rows.replace(',', "\t").replace('\n', "\r\n")),
        ] {
            let table = read(name, contents).unwrap();
            assert_eq!([table.line(0), table.line(1)], [3, 7], "{name}");
        }
        let json = read("a.jsonl", "\u{feff}\r\n{\"a\": 1}\r\n  \r\n{\"a\": 2}\r\n").unwrap();
        assert_eq!([json.line(0), json.line(1)], [2, 4]);
        let long = format!("a,b\n\"{}\",\n,2\n", "line\n".repeat(50_000));
        assert_eq!(read("a.csv", long).unwrap().line(1), 50_003, "longer than the buffers");
        assert_eq!(
            read("a.csv", format!("{}\n{}\n", "a,".repeat(300) + "b", "1,".repeat(300) + "2"))
                .unwrap_err()
                .to_string()
                .matches("occurs twice")
                .count(),
            1
        );
    }

    #[test]
    fn values_of_json_keep_their_text() {
        let json = "{\"a\": 1.50, \"b\": [1, \"x\", null], \"c\": true, \"d\": 123456789012345678901234567890}";
        let table = read("a.jsonl", json).unwrap();
        let row = ["a", "b", "c", "d"].map(|column| cells(&table, column)[0]);
        assert_eq!(row, ["1.50", "[1,\"x\",null]", "true", "123456789012345678901234567890"]);
    }

    #[test]
    fn columns_that_are_not_asked_for_may_be_missing() {
        let json = "{\"a\": 1, \"b\": null, \"d\": 0}\n{\"c\": 3, \"a\": 2}\n";
        assert_eq!(cells(&read_columns("a.jsonl", json, &["a", "a"]).unwrap(), "a"), ["1", "2"]);
        let error = read_columns("a.jsonl", json, &["a", "d"]).unwrap_err().to_string();
        assert!(error.contains("line 2: a row is an object without `d`"), "{error}");
        assert!(read_columns("a.csv", "a,b\n1,2\n3\n", &["a"]).is_err(), "rows must have the length of the header");
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
    fn a_misspelt_column_names_the_nearest() {
        for (name, contents) in [
            ("a.csv", b"text,label,split\n1,2,3\n".to_vec()),
            ("a.tsv", b"text\tlabel\tsplit\n1\t2\t3\n".to_vec()),
            ("a.jsonl", b"{\"text\": 1, \"label\": 2, \"split\": 3}\n".to_vec()),
            ("a.parquet", strings(&[("text", vec![]), ("label", vec![]), ("split", vec![])])),
        ] {
            for column in ["labels", "LABEL", "lab_el"] {
                let error = read_columns(name, &contents, &["text", column]).unwrap_err().to_string();
                let expected = format!(
                    "{name}` has no column `{column}` (did you mean `label`?); its columns are `text`, `label`, `split`"
                );
                assert!(error.ends_with(&expected), "{error}");
            }
        }
        let many: Vec<String> = (0..64).map(|pixel| format!("p{pixel}")).collect();
        let error = read_columns("a.csv", many.join(","), &["label"]).unwrap_err().to_string();
        assert!(error.ends_with("`p18`, `p19` and 44 more"), "{error}");
    }

    #[test]
    fn a_row_of_another_length_is_found() {
        for (name, contents, expected_line, expected) in [
            ("a.csv", "a,b\n1,2\n3\n", 3, "1 fields long"),
            ("a.csv", "a,b\n\"x\ny\",2\n3,4,5\n", 4, "3 fields long"),
            ("a.tsv", "a\tb\r\n\r\n1\t2\r\n3,4\r\n", 4, "1 fields long"),
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
        for (name, contents) in [
            ("a.csv", &b""[..]),
            ("a.csv", b"\xef\xbb\xbf"),
            ("a.csv", b"\n\r\n"),
            ("a.csv", b"a,b\n"),
            ("a.tsv", b"a\tb"),
            ("a.jsonl", b""),
            ("a.jsonl", b"\n\n"),
            ("a.parquet", &strings(&[("a", vec![])])),
            ("a.parquet", &written("message m { }", &[])),
        ] {
            let error = error(name, contents);
            assert!(matches!(error, TrainError::Data { what: "the table", .. }), "{error}");
        }
    }

    #[test]
    fn a_column_cannot_have_two_meanings() {
        for (name, contents, expected_line) in [
            ("a.csv", &b"a,b,a\n1,2,3\n"[..], None),
            ("a.jsonl", b"{\"a\": 1, \"a\": 1}\n", None),
            ("a.jsonl", b"{\"a\": 1}\n{\"a\": 1, \"a\": 1}\n", Some(2)),
            ("a.parquet", &strings(&[("a", vec!["1"]), ("a", vec!["1"])]), None),
        ] {
            let error = error(name, contents);
            assert!(
                matches!(&error, TrainError::Data { what: "a column name", line, found, .. }
                    if found == "`a`" && *line == expected_line),
                "{error}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (name, contents, expected) in [
            ("a.csv", &b"a,b\n1,2\n3,\xff\n"[..], "line 3 is not UTF-8"),
            ("a.csv", b"a,b\r\n\"1\r\n\r\n\",\"2\r\n\xff\"\r\n", "line 5 is not UTF-8"),
            ("a.csv", b"a,\xc3\n\xa9,1\n", "line 1 is not UTF-8"),
            ("a.csv", b"a,b\n1,2\n\n3,\"4\n5,6\n7,8\n", "a quoted cell in the row of line 4 does not end"),
            ("a.tsv", b"a\tb\n1\t\xff\n", "line 2 is not UTF-8"),
            (
                "a.jsonl",
                b"{\"a\": 1}\n{\"a\": }\n",
                "line 2 is not in JSON-lines format: expected value at character 7",
            ),
            ("a.jsonl", b"{\"a\": 1}\n[1]\n", "line 2"),
            ("a.jsonl", b"\n{\"a\": \"\xff\"}\n", "line 2 is not UTF-8"),
            ("a.jsonl", b"{\"a\": \"\\ud800\"}\n", "line 1"),
            ("a.jsonl", b"{\"a\":\n1}\n", "line 1"),
            ("a.jsonl", b"{\"a\": 1} {\"a\": 2}\n", "line 1"),
            ("a.parquet", b"a,b\n1,2\n", "Parquet"),
            ("a.parquet", b"", "Parquet"),
        ] {
            let error = error(name, contents);
            assert!(matches!(&error, TrainError::DataFormat { reason, .. } if reason.contains(expected)), "{error}");
        }
        let error = error("a.xml", "a");
        assert!(matches!(error, TrainError::Data { what: "the file extension", .. }));
        assert!(error.to_string().ends_with("is .xml, but it must be .csv, .tsv, .jsonl, .parquet or .txt"), "{error}");
        for name in ["absent.csv", "absent.tsv", "absent.jsonl", "absent.parquet"] {
            assert!(matches!(Table::read(name), Err(TrainError::Io { .. })));
        }
    }
}
