//! One table, or one per set, as one list of rows.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use crate::data::{Grammar, Selection, Table};
use crate::error::TrainError;
use crate::recipe::{DataSection, Files, Split, no_source};

/// Tables whose rows follow each other.
pub(super) struct Tables {
    tables: Vec<Table>,
    /// Rows of each table, by set: train, dev, test, ood. Empty for one table.
    sets: [Range<usize>; 4],
}

impl Tables {
    /// Reads the tables of a section, or generates the table of its grammar. Also returns the section with the keys that
    /// the source implies.
    ///
    /// # Errors
    /// Returns the errors of [`Table::read`] and of [`Grammar::generate`], and [`TrainError::Setting`] for a section
    /// without a source and a grammar that is not divided into sets.
    pub(super) fn of(section: &DataSection) -> Result<(Self, Cow<'_, DataSection>), TrainError> {
        match (&section.path, &section.grammar) {
            (Some(files), _) => {
                let text = section.text.clone().or_else(|| section.implied_text().map(Into::into));
                Ok((Self::read(files)?, Cow::Owned(DataSection { text, ..section.clone() })))
            }
            (None, Some(grammar)) => {
                let grammar = Grammar::read(grammar)?;
                let section = with_defaults(section, grammar.has_sets())?;
                Ok((Self::generate(&grammar, section.other_test.as_deref())?, Cow::Owned(section)))
            }
            (None, None) => Err(no_source()),
        }
    }

    /// The sentences of a grammar, and a table in place of its test set.
    fn generate(grammar: &Grammar, test: Option<&Path>) -> Result<Self, TrainError> {
        let (mut tables, mut sets) =
            (vec![grammar.generate(&Selection::default(), &mut |_, _| ())?], [const { 0..0 }; 4]);
        if let Some(test) = test {
            let (test, start) = (Table::read(test)?, tables[0].len());
            sets = [0..start, 0..0, start..start + test.len(), 0..0];
            tables.push(test);
        }
        Ok(Self { tables, sets })
    }

    /// Reads the tables.
    ///
    /// # Errors
    /// Returns the errors of [`Table::read`].
    pub(super) fn read(files: &Files) -> Result<Self, TrainError> {
        let (mut tables, mut sets) = (Vec::new(), [const { 0..0 }; 4]);
        match files {
            Files::One(path) => tables.push(Table::read(path)?),
            Files::Sets(files) => {
                let paths = [Some(&files.train), files.dev.as_ref(), Some(&files.test), files.ood.as_ref()];
                let mut start = 0;
                for (rows, path) in sets.iter_mut().zip(paths).filter_map(|(rows, path)| Some((rows, path?))) {
                    let table = Table::read(path)?;
                    *rows = start..start + table.len();
                    start = rows.end;
                    tables.push(table);
                }
            }
        }
        Ok(Self { tables, sets })
    }

    /// The tables, in the order of their rows.
    pub(super) fn all(&self) -> &[Table] {
        &self.tables
    }

    /// The first table, which a split divides.
    pub(super) fn first(&self) -> &Table {
        // `Tables::read` and `Tables::generate` make at least one table.
        &self.tables[0]
    }

    /// Rows of the tables of each set: train, dev, test, ood. Empty for one table.
    pub(super) fn sets(&self) -> [Range<usize>; 4] {
        self.sets.clone()
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    /// Path of the first table, for errors that concern all rows.
    pub(super) fn path(&self) -> &Path {
        self.first().path()
    }

    /// The values of a column, one per row.
    ///
    /// # Errors
    /// Returns [`TrainError::DataColumn`] for a table without the column.
    pub(super) fn column(&self, name: &str) -> Result<Vec<&str>, TrainError> {
        let columns = self.tables.iter().map(|table| table.column(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(columns.into_iter().flat_map(|column| column.iter().collect::<Vec<_>>()).collect())
    }

    /// The table of a row, and the row in it.
    pub(super) fn place(&self, row: usize) -> (&Table, usize) {
        let mut left = row;
        for table in &self.tables {
            if left < table.len() {
                return (table, left);
            }
            left -= table.len();
        }
        (self.first(), left)
    }

    /// The error for an unusable value in a row.
    pub(super) fn invalid(
        &self,
        row: usize,
        what: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> TrainError {
        let (table, row) = self.place(row);
        table.invalid(row, what, found, expected)
    }
}

/// The keys that a grammar implies: its sentences are the text, and its sets divide them.
fn with_defaults(section: &DataSection, has_sets: bool) -> Result<DataSection, TrainError> {
    let mut section = section.clone();
    section.text.get_or_insert_with(|| "sentence".into());
    if section.split.is_none() && has_sets {
        section.split = Some(Split::Column("set".into()));
    }
    let expected = "the grammar has no [sets]; divide its sentences: { seeded = { train = 0.6, seed = 0 } }";
    TrainError::check(section.split.is_some() || section.label.is_none(), "data.split", "missing", expected)?;
    Ok(section)
}
