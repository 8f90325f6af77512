//! The division of rows into training, development, test and out-of-distribution set.

use std::collections::BTreeMap;
use std::path::Path;

use ns_circuit::rng;

use super::tables::Tables;
use crate::data::table::invalid;
use crate::data::{RowSplit, Table};
use crate::error::TrainError;
use crate::recipe::Split;

/// Shares of the training and the development set, and the seed of the sample.
#[derive(Clone, Copy)]
pub(super) struct Shares {
    pub(super) train: f64,
    pub(super) dev: f64,
    pub(super) seed: u64,
}

/// Divides the rows of tables. Without `split` there is a table per set; with it there is one table, or the split takes
/// the training rows out of the first and the test set is a table of its own.
///
/// # Errors
/// Returns [`TrainError::Data`] for an unknown set in the split column and for a training or test set without rows, and
/// the errors of [`Table::column`].
pub(super) fn divide(tables: &Tables, split: Option<&Split>) -> Result<RowSplit, TrainError> {
    let [train, dev, test, ood] = tables.sets().map(Iterator::collect);
    let split = match split {
        None => RowSplit { train, dev, test, ood },
        Some(split) if train.is_empty() => divide_table(tables.first(), split)?,
        Some(split) => RowSplit { train: divide_table(tables.first(), split)?.train, test, ..RowSplit::default() },
    };
    check(&split, tables.path())?;
    Ok(split)
}

fn divide_table(table: &Table, split: &Split) -> Result<RowSplit, TrainError> {
    match split {
        Split::Column(column) => by_column(table, column),
        Split::Seeded { train, dev, seed, group } => {
            let shares = Shares { train: *train, dev: *dev, seed: *seed };
            Ok(match group {
                None => seeded(table.len(), shares),
                Some(column) => by_group(&table.column(column)?.iter().collect::<Vec<_>>(), shares),
            })
        }
    }
}

/// Checks that there are training and test rows.
pub(super) fn check(split: &RowSplit, path: &Path) -> Result<(), TrainError> {
    for (what, rows) in [("the training set", &split.train), ("the test set", &split.test)] {
        if rows.is_empty() {
            return Err(invalid(path, None, what, "empty", "it needs at least one row; change data.split"));
        }
    }
    Ok(())
}

fn by_column(table: &Table, column: &str) -> Result<RowSplit, TrainError> {
    let mut split = RowSplit::default();
    for (row, name) in table.column(column)?.iter().enumerate() {
        match name {
            "train" => split.train.push(row),
            "dev" => split.dev.push(row),
            "test" => split.test.push(row),
            "ood" => split.ood.push(row),
            _ => {
                let expected = "it must be `train`, `dev`, `test` or `ood`";
                return Err(table.invalid(row, "the split", format!("`{name}`"), expected));
            }
        }
    }
    Ok(split)
}

/// Divides `rows` rows at random. The sets are parts of one permutation.
pub(super) fn seeded(rows: usize, shares: Shares) -> RowSplit {
    let mut train = rng::permutation(&mut rng::stream(shares.seed, "split", 0, 0), rows);
    let mut dev = train.split_off(share(rows, shares.train));
    let test = dev.split_off(share(rows, shares.dev).min(dev.len()));
    RowSplit { train, dev, test, ood: Vec::new() }
}

/// Divides rows at random so that all rows of a group are in one set. Groups are permuted in alphabetical order, so the
/// sets do not depend on the order of the rows. Each set takes groups until it has its share of rows.
fn by_group(groups: &[&str], shares: Shares) -> RowSplit {
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, group) in groups.iter().enumerate() {
        rows.entry(group).or_default().push(row);
    }
    let rows: Vec<Vec<usize>> = rows.into_values().collect();
    let (n_train, n_dev) = (share(groups.len(), shares.train), share(groups.len(), shares.dev));
    let mut split = RowSplit::default();
    for group in rng::permutation(&mut rng::stream(shares.seed, "split", 0, 0), rows.len()) {
        let set = match () {
            () if split.train.len() < n_train => &mut split.train,
            () if split.dev.len() < n_dev => &mut split.dev,
            () => &mut split.test,
        };
        set.extend_from_slice(&rows[group]);
    }
    split
}

/// A share of rows, rounded down.
fn share(rows: usize, share: f64) -> usize {
    ((rows as f64 * share) as usize).min(rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data::fixtures::file;
    use crate::recipe::{Files, SetFiles};

    fn tables(contents: &str) -> Tables {
        let (_folder, path) = file("a.csv", contents);
        Tables::read(&Files::One(path)).unwrap()
    }

    fn column(contents: &str) -> Result<RowSplit, TrainError> {
        divide(&tables(contents), Some(&Split::Column("split".into())))
    }

    #[test]
    fn a_column_names_four_sets() {
        let split = column("split\ntest\ntrain\nood\ndev\ntrain\n").unwrap();
        assert_eq!(split, RowSplit { train: vec![1, 4], dev: vec![3], test: vec![0], ood: vec![2] });
        let error = column("split\ntrain\nvalid\n").unwrap_err().to_string();
        assert!(error.contains("line 3: the split is `valid`, but it must be `train`, `dev`, `test` or `ood`"));
    }

    #[test]
    fn a_set_without_rows_is_an_error() {
        let error = column("split\ntrain\ndev\n").unwrap_err().to_string();
        assert!(error.contains("the test set is empty, but it needs at least one row"), "{error}");
        let error = column("split\ntest\ndev\n").unwrap_err().to_string();
        assert!(error.contains("the training set is empty"), "{error}");
        let one = Split::Seeded { train: 0.5, dev: 0.0, seed: 0, group: None };
        assert!(divide(&tables("split\na\n"), Some(&one)).unwrap_err().to_string().contains("the training set"));
    }

    #[test]
    fn a_seeded_split_is_one_permutation() {
        let split = seeded(10, Shares { train: 0.6, dev: 0.25, seed: 3 });
        let all = [split.train.clone(), split.dev.clone(), split.test.clone()];
        assert_eq!(all.each_ref().map(Vec::len), [6, 2, 2]);
        assert_eq!(all.concat(), rng::permutation(&mut rng::stream(3, "split", 0, 0), 10));
    }

    #[test]
    fn groups_stay_whole_in_any_order_of_rows() {
        let groups: Vec<String> = (0..60).map(|row| format!("g{}", row % 13)).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let shares = Shares { train: 0.5, dev: 0.2, seed: 1 };
        let names = |rows: &[usize], groups: &[&str]| -> BTreeSet<String> {
            rows.iter().map(|row| groups[*row].to_string()).collect()
        };
        let split = by_group(&groups, shares);
        let [train, dev, test] = [&split.train, &split.dev, &split.test].map(|rows| names(rows, &groups));
        assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
        assert!((30..35).contains(&split.train.len()) && (12..17).contains(&split.dev.len()));
        let reversed: Vec<&str> = groups.iter().rev().copied().collect();
        assert_eq!(names(&by_group(&reversed, shares).train, &reversed), train);
        assert!((2..6).any(|seed| by_group(&groups, Shares { seed, ..shares }) != split));
    }

    #[test]
    fn sets_in_files_follow_each_other() {
        let (folder, train) = file("train.csv", "x\na\nb\n");
        let (test, ood) = (folder.path().join("test.csv"), folder.path().join("ood.csv"));
        std::fs::write(&test, "y,x\n0,c\n").unwrap();
        std::fs::write(&ood, "x\nd\ne\n").unwrap();
        let files = Files::Sets(SetFiles { train, dev: None, test, ood: Some(ood) });
        let tables = Tables::read(&files).unwrap();
        assert_eq!(tables.column("x").unwrap(), ["a", "b", "c", "d", "e"]);
        let expected = RowSplit { train: vec![0, 1], dev: vec![], test: vec![2], ood: vec![3, 4] };
        assert_eq!(divide(&tables, None).unwrap(), expected);
        let error = tables.invalid(4, "a word", "x", "y").to_string();
        assert!(error.contains("ood.csv`, line 3"), "{error}");
        assert!(tables.column("y").unwrap_err().to_string().contains("train.csv` has no column `y`"));
    }
}
