//! The division of table rows into sets.

use ns_circuit::rng;
use serde::{Deserialize, Serialize};

use super::table::{Table, invalid};
use crate::error::TrainError;

/// How to divide rows into training and test rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SplitRecipe {
    /// By a column of the table that holds `train` or `test`: `split = { column = "split" }`.
    Column(String),
    /// At random: `split = { seeded = { train_fraction = 0.8, seed = 0 } }`.
    Seeded {
        /// Fraction of training rows, between 0 and 1. The number of rows is rounded down.
        /// Both sides need at least one row.
        train_fraction: f64,
        /// Seed of the split. A probe must use the split of its model.
        seed: u64,
    },
}

/// Indices of the rows of each set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSplit {
    /// Indices of the training rows.
    pub train: Vec<usize>,
    /// Indices of the development rows; often none.
    pub dev: Vec<usize>,
    /// Indices of the test rows.
    pub test: Vec<usize>,
    /// Indices of the rows out of distribution; often none.
    pub ood: Vec<usize>,
}

impl RowSplit {
    /// The sets with their names, as recipes and results write them.
    pub fn sets(&self) -> [(&'static str, &[usize]); 4] {
        [("train", &self.train), ("dev", &self.dev), ("test", &self.test), ("ood", &self.ood)]
    }
}

impl SplitRecipe {
    /// Checks the training fraction.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if it is not between 0 and 1.
    pub fn validate(&self) -> Result<(), TrainError> {
        let Self::Seeded { train_fraction, .. } = self else { return Ok(()) };
        check_fraction("split.seeded.train_fraction", *train_fraction)
    }

    /// The column that says on which side a row is, if there is one.
    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Self::Column(column) => Some(column),
            Self::Seeded { .. } => None,
        }
    }

    /// Splits the rows of a table. The indices are in the order of the file for [`SplitRecipe::Column`], and in random
    /// order for [`SplitRecipe::Seeded`].
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] if a row holds neither `train` nor `test` or if there are no training or no test rows,
    /// and the errors of [`SplitRecipe::validate`] and [`Table::column`].
    pub fn split(&self, table: &Table) -> Result<RowSplit, TrainError> {
        self.validate()?;
        let split = match self {
            Self::Column(column) => by_column(table, column)?,
            Self::Seeded { train_fraction, seed } => at_random(table.len(), *train_fraction, *seed),
        };
        for (rows, what) in [(&split.train, "the number of training rows"), (&split.test, "the number of test rows")] {
            if rows.is_empty() {
                let expected = format!("the split of its {} rows needs at least one on each side", table.len());
                return Err(invalid(table.path(), None, what, "0", expected));
            }
        }
        Ok(split)
    }
}

/// Checks a fraction of training rows.
pub(super) fn check_fraction(setting: &'static str, fraction: f64) -> Result<(), TrainError> {
    let holds = fraction > 0.0 && fraction < 1.0;
    TrainError::check(holds, setting, fraction, "it must be between 0 and 1, so that there are training and test rows")
}

fn by_column(table: &Table, column: &str) -> Result<RowSplit, TrainError> {
    let mut split = RowSplit::default();
    for (row, name) in table.column(column)?.iter().enumerate() {
        match name {
            "train" => split.train.push(row),
            "test" => split.test.push(row),
            _ => return Err(table.invalid(row, "the split", format!("`{name}`"), "it must be `train` or `test`")),
        }
    }
    Ok(split)
}

fn at_random(rows: usize, train_fraction: f64, seed: u64) -> RowSplit {
    let mut train = rng::permutation(&mut rng::stream(seed, "split", 0, 0), rows);
    let test = train.split_off((rows as f64 * train_fraction) as usize);
    RowSplit { train, test, ..RowSplit::default() }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::file;
    use super::*;

    fn split(recipe: &SplitRecipe, contents: &str) -> Result<RowSplit, TrainError> {
        let (_folder, path) = file("a.csv", contents);
        recipe.split(&Table::read(&path).unwrap())
    }

    const ROWS: &str = "x,side\n0,train\n1,test\n2,train\n3,test\n4,test\n";

    #[test]
    fn a_column_says_which_is_which() {
        let column = SplitRecipe::Column("side".into());
        let expected = RowSplit { train: vec![0, 2], test: vec![1, 3, 4], ..RowSplit::default() };
        assert_eq!(split(&column, ROWS).unwrap(), expected);
        let error = split(&column, "x,side\n0,train\n1,dev\n").unwrap_err();
        assert!(
            matches!(&error, TrainError::Data { line: Some(3), what: "the split", found, .. } if found == "`dev`"),
            "{error}"
        );
        for (side, missing) in [("test", "the number of training rows"), ("train", "the number of test rows")] {
            let error = split(&column, &format!("x,side\n0,{side}\n")).unwrap_err();
            assert!(
                matches!(&error, TrainError::Data { line: None, what, found, .. } if *what == missing && found == "0"),
                "{error}"
            );
        }
        assert!(matches!(split(&SplitRecipe::Column("y".into()), ROWS), Err(TrainError::DataColumn { .. })));
    }

    #[test]
    fn chance_has_every_row_once() {
        let seeded = |train_fraction, seed| SplitRecipe::Seeded { train_fraction, seed };
        let halves = split(&seeded(0.5, 0), ROWS).unwrap();
        assert_eq!((halves.train.len(), halves.test.len()), (2, 3));
        let mut all = [halves.train.clone(), halves.test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        assert_eq!(split(&seeded(0.5, 0), ROWS).unwrap(), halves);
        assert!((1..5).any(|seed| split(&seeded(0.5, seed), ROWS).unwrap() != halves));
        for fraction in [0.0, 1.0, 1.1, -1.0, f64::NAN] {
            assert!(matches!(split(&seeded(fraction, 0), ROWS), Err(TrainError::Setting { .. })));
        }
        let empty = |recipe: &SplitRecipe, rows: &str| match split(recipe, rows) {
            Err(TrainError::Data { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(empty(&seeded(0.1, 0), ROWS), "the number of training rows");
        assert_eq!(empty(&seeded(0.5, 0), "x\n0\n"), "the number of training rows");
    }

    #[test]
    fn recipes_name_one_way() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Recipe {
            split: SplitRecipe,
        }
        let recipe = |text: &str| toml::from_str::<Recipe>(text).map(|recipe| recipe.split);
        assert_eq!(recipe("split = { column = \"side\" }").unwrap(), SplitRecipe::Column("side".into()));
        assert_eq!(
            recipe("split = { seeded = { train_fraction = 0.8, seed = 3 } }").unwrap(),
            SplitRecipe::Seeded { train_fraction: 0.8, seed: 3 }
        );
        let error = recipe("split = { seeded = { train_fraction = 0.8, sed = 3 } }").unwrap_err().to_string();
        assert!(error.contains("sed") && error.contains("seed"), "{error}");
        assert!(recipe("split = { colum = \"side\" }").is_err());
    }
}
