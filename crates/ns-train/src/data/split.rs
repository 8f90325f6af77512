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
        /// Fraction of training rows, in (0, 1]. The number of rows is rounded down.
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
    /// Returns [`TrainError::Setting`] if it is not in (0, 1].
    pub fn validate(&self) -> Result<(), TrainError> {
        let Self::Seeded { train_fraction, .. } = self else { return Ok(()) };
        let holds = *train_fraction > 0.0 && *train_fraction <= 1.0;
        TrainError::check(holds, "split.seeded.train_fraction", train_fraction, "it must be in (0, 1]")
    }

    /// Splits the rows of a table. The indices are in the order of the file for [`SplitRecipe::Column`], and in random
    /// order for [`SplitRecipe::Seeded`].
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] if a row holds neither `train` nor `test` or there are no training rows, and the
    /// errors of [`SplitRecipe::validate`] and [`Table::column`].
    pub fn split(&self, table: &Table) -> Result<RowSplit, TrainError> {
        self.validate()?;
        let split = match self {
            Self::Column(column) => by_column(table, column)?,
            Self::Seeded { train_fraction, seed } => at_random(table.len(), *train_fraction, *seed),
        };
        match split.train.is_empty() {
            true => Err(invalid(table.path(), None, "the number of training rows", "0", "it must be at least 1")),
            false => Ok(split),
        }
    }
}

fn by_column(table: &Table, column: &str) -> Result<RowSplit, TrainError> {
    let mut split = RowSplit::default();
    for (row, name) in table.column(column)?.into_iter().enumerate() {
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
        assert!(matches!(split(&column, "x,side\n0,test\n"), Err(TrainError::Data { line: None, .. })));
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
        for fraction in [0.0, 1.1, -1.0, f64::NAN] {
            assert!(matches!(split(&seeded(fraction, 0), ROWS), Err(TrainError::Setting { .. })));
        }
        assert!(matches!(split(&seeded(0.1, 0), ROWS), Err(TrainError::Data { .. })));
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
