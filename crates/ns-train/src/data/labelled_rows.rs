//! Labels of rows: reads a column of class names as class indices.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{RowSplit, SplitRecipe, table::Table};
use crate::error::TrainError;

/// The labels of every row, and the division into sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelledRows {
    /// Label of each row: index of its class, or token of its answer. Rows of several labels follow each other, see
    /// `ends`.
    pub labels: Vec<usize>,
    /// End of each row's labels in `labels`. Empty if each row has one label.
    pub ends: Vec<usize>,
    /// Names of the classes, in the order of their indices. Empty if the labels are tokens.
    pub classes: Vec<String>,
    /// Number of possible labels.
    pub n_answers: usize,
    /// Indices of the rows of each set.
    pub split: RowSplit,
}

impl LabelledRows {
    /// Splits a table and reads the class of every row from a column.
    ///
    /// `given` lists the classes in the order of their indices. A row then holds the name of its class or, if no name
    /// is a number, the index of its class. Without `given`, the classes are those of the training rows: sorted as
    /// numbers if all are integers, else by name.
    ///
    /// # Errors
    /// Returns [`TrainError::DataColumn`] if the column does not exist, [`TrainError::Setting`] if `given` is empty or
    /// repeats a name, [`TrainError::UnknownClass`] for a row with an unknown class, [`TrainError::UntrainedClass`] for
    /// a class without training rows, and the errors of [`SplitRecipe::split`].
    pub(super) fn read(
        table: &Table,
        column: &str,
        given: Option<&[String]>,
        split: &SplitRecipe,
    ) -> Result<Self, TrainError> {
        let split = split.split(table)?;
        let names = table.column(column)?;
        let classes = match given {
            Some(classes) => check_classes(classes)?,
            None => sort_classes(split.train.iter().filter_map(|row| names.get(*row))),
        };
        let indices = indices_by_label(&classes, given.is_some());
        let labels = names.iter().enumerate().map(|(row, name)| {
            indices.get(name).copied().ok_or_else(|| TrainError::UnknownClass {
                path: table.path().into(),
                line: table.line(row),
                class: name.into(),
                classes: classes.clone(),
            })
        });
        let labels = labels.collect::<Result<Vec<usize>, TrainError>>()?;
        let trained: BTreeSet<usize> = split.train.iter().map(|row| labels[*row]).collect();
        match (0..classes.len()).find(|class| !trained.contains(class)) {
            Some(class) => Err(TrainError::UntrainedClass { path: table.path().into(), class: classes[class].clone() }),
            None => Ok(Self { n_answers: classes.len(), labels, classes, split, ..Self::default() }),
        }
    }

    /// The labels of a row.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn of(&self, row: usize) -> &[usize] {
        &self.labels[self.range(row)]
    }

    /// Where the labels of a row are in `labels`.
    pub(super) fn range(&self, row: usize) -> Range<usize> {
        match self.ends.is_empty() {
            true => row..row + 1,
            false => row.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[row],
        }
    }

    /// Accuracy on the test rows of always predicting the most frequent label of the training rows.
    pub fn majority(&self) -> f64 {
        let counts = self.train_counts();
        let most_frequent = (0..self.n_answers).max_by_key(|label| counts[*label]);
        let labels = || self.split.test.iter().flat_map(|row| self.of(*row));
        let correct = labels().filter(|label| Some(**label) == most_frequent).count();
        correct as f64 / labels().count().max(1) as f64
    }

    /// Share of the most frequent label among those of the training rows.
    pub fn train_majority(&self) -> f64 {
        let counts = self.train_counts();
        counts.iter().max().copied().unwrap_or_default() as f64 / counts.iter().sum::<usize>().max(1) as f64
    }

    /// Number of training labels of each class.
    fn train_counts(&self) -> Vec<usize> {
        let mut counts = vec![0_usize; self.n_answers];
        self.split.train.iter().flat_map(|row| self.of(*row)).for_each(|label| counts[*label] += 1);
        counts
    }
}

fn check_classes(classes: &[String]) -> Result<Vec<String>, TrainError> {
    let distinct: BTreeSet<&String> = classes.iter().collect();
    let (once, found) = (distinct.len() == classes.len() && !classes.is_empty(), format!("[{}]", classes.join(", ")));
    TrainError::check(once, "classes", found, "it must list each class exactly once, or be omitted")?;
    Ok(classes.to_vec())
}

/// Removes duplicates and sorts: as numbers if all names are integers, else by name.
pub(super) fn sort_classes<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut classes: Vec<&str> = names.collect::<BTreeSet<_>>().into_iter().collect();
    let numbers: Option<Vec<i64>> = classes.iter().map(|name| name.parse().ok()).collect();
    if numbers.is_some() {
        classes.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    classes.into_iter().map(Into::into).collect()
}

/// The class index of every label that may occur in a row.
fn indices_by_label(classes: &[String], given: bool) -> BTreeMap<String, usize> {
    let mut indices: BTreeMap<String, usize> = BTreeMap::new();
    if given && classes.iter().all(|name| name.parse::<i64>().is_err()) {
        indices.extend((0..classes.len()).map(|index| (index.to_string(), index)));
    }
    indices.extend(classes.iter().enumerate().map(|(index, name)| (name.clone(), index)));
    indices
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::file;
    use super::*;

    fn labels(names: &str, given: Option<&[&str]>) -> Result<LabelledRows, TrainError> {
        let rows: String = names.split(' ').map(|row| row.replace(':', ",") + "\n").collect();
        let (_folder, path) = file("a.csv", format!("label,split\n{rows}"));
        let table = Table::read(&path).unwrap();
        let split = SplitRecipe::Column("split".into());
        let given: Option<Vec<String>> = given.map(|names| names.iter().map(ToString::to_string).collect());
        LabelledRows::read(&table, "label", given.as_deref(), &split)
    }

    fn found(names: &str, given: Option<&[&str]>) -> (Vec<usize>, String) {
        let rows = labels(names, given).unwrap();
        assert_eq!(rows.n_answers, rows.classes.len());
        (rows.labels, rows.classes.join(" "))
    }

    #[test]
    fn classes_are_sorted_unless_given() {
        assert_eq!(found("b:train a:train c:train a:test", None), (vec![1, 0, 2, 0], "a b c".into()));
        assert_eq!(found("10:train 9:train -1:train 10:test", None), (vec![2, 1, 0, 2], "-1 9 10".into()));
        assert_eq!(found("10:train 9:train x:train x:test", None), (vec![0, 1, 2, 2], "10 9 x".into()));
        assert_eq!(found("b:train a:train a:test", Some(&["b", "a"])), (vec![0, 1, 1], "b a".into()));
    }

    #[test]
    fn given_classes_have_places() {
        assert_eq!(found("1:train 0:train b:test", Some(&["b", "a"])), (vec![1, 0, 0], "b a".into()));
        assert_eq!(found("2:train 1:train 2:test", Some(&["1", "2"])), (vec![1, 0, 1], "1 2".into()));
    }

    #[test]
    fn a_label_out_of_range_and_an_unknown_class_are_found() {
        for (names, given, name, at) in [
            ("0:train 1:train 2:train 0:test", Some(&["a", "b"][..]), "2", 4),
            ("0:train 1:train -1:test", Some(&["a", "b"]), "-1", 4),
            ("1:train 2:train 0:train 1:test", Some(&["1", "2"]), "0", 4),
            ("a:train c:train a:test", Some(&["a", "b"]), "c", 3),
            ("a:train z:test b:train", None, "z", 3),
        ] {
            let error = labels(names, given).unwrap_err();
            assert!(
                matches!(&error, TrainError::UnknownClass { line, class, classes, .. }
                    if *line == at && class == name && classes.len() <= 2),
                "{error}"
            );
        }
    }

    #[test]
    fn every_class_must_be_trained() {
        let error = labels("a:train b:train c:test", Some(&["a", "b", "c"])).unwrap_err();
        assert!(matches!(&error, TrainError::UntrainedClass { class, .. } if class == "c"), "{error}");
    }

    #[test]
    fn a_list_of_classes_names_each_once() {
        for classes in [&["a", "a"][..], &[]] {
            let error = labels("a:train a:test", Some(classes)).unwrap_err();
            assert!(matches!(&error, TrainError::Setting { setting, .. } if setting == "classes"), "{error}");
        }
    }

    #[test]
    fn the_majority_of_the_training_rows_predicts_the_test_rows() {
        let majority = |names| labels(names, None).unwrap().majority();
        assert_eq!(majority("a:train b:train b:train a:test b:test a:test a:test"), 0.25);
        assert_eq!(labels("a:train b:train b:train c:train a:test", None).unwrap().train_majority(), 0.5);
        assert_eq!(majority("a:train b:train b:test"), 1.0, "the last of equally frequent classes");
        assert_eq!(LabelledRows::default().majority(), 0.0);
    }
}
