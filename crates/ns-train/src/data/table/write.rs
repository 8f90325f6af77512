//! Writes tables of cells that are separated by commas or tabs.

use std::path::Path;

use ns_models::write_atomically;

use super::Table;
use super::contents::invalid;
use crate::error::TrainError;

impl Table {
    /// Writes the table as `.csv` or `.tsv`, by the extension of `path`, with a header. The file is written atomically
    /// and replaces an existing one; its folder is created if it does not exist.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] for another extension, and [`TrainError::Io`] if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), TrainError> {
        let path = path.as_ref();
        let separator = separator(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(TrainError::io("create", folder))?;
        let failed = |error: csv::Error| TrainError::io("write", path)(error.into());
        let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
        writer.write_record(self.columns()).map_err(failed)?;
        let mut columns: Vec<_> = self.contents.cells.iter().map(|cells| cells.column().iter()).collect();
        for _ in 0..self.len() {
            writer.write_record(columns.iter_mut().filter_map(Iterator::next)).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(|error| TrainError::io("write", path)(error.into_error()))?;
        write_atomically(path, &bytes).map_err(TrainError::io("write", path))
    }

    /// Checks that [`Table::write`] knows the format of a file.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] for an extension other than `.csv` and `.tsv`.
    pub fn check_format(path: impl AsRef<Path>) -> Result<(), TrainError> {
        separator(path.as_ref()).map(drop)
    }
}

fn separator(path: &Path) -> Result<u8, TrainError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Ok(b','),
        Some("tsv") => Ok(b'\t'),
        extension => {
            let found = extension.map_or_else(|| "missing".into(), |extension| format!(".{extension}"));
            Err(invalid(path, None, "the file extension", found, "a table is written as .csv or .tsv"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::new(Path::new("a.toml"), vec!["text".into(), "answer".into()]);
        [["a, \"b\"", " is"], ["", "two\nlines"]].iter().for_each(|row| table.push(row));
        for name in ["new/a.csv", "a.tsv"] {
            let path = folder.path().join(name);
            table.write(&path).unwrap();
            let read = Table::read(&path).unwrap();
            assert_eq!((read.columns(), &read.contents.cells), (table.columns(), &table.contents.cells), "{name}");
        }
        let error = table.write(folder.path().join("a.json")).unwrap_err().to_string();
        assert!(error.ends_with("the file extension is .json, but a table is written as .csv or .tsv"), "{error}");
    }
}
