//! Labels of rows, as indices of classes.

use std::collections::BTreeSet;
use std::ops::Range;

use super::RowSplit;

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

/// Removes duplicates and sorts: as numbers if all names are integers, else by name.
pub(super) fn sort_classes<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut classes: Vec<&str> = names.collect::<BTreeSet<_>>().into_iter().collect();
    let numbers: Option<Vec<i64>> = classes.iter().map(|name| name.parse().ok()).collect();
    if numbers.is_some() {
        classes.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    classes.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_sorted_as_numbers_or_names() {
        let sorted = |names: &str| sort_classes(names.split(' ')).join(" ");
        assert_eq!(sorted("b a c a"), "a b c");
        assert_eq!(sorted("10 9 -1 10"), "-1 9 10");
        assert_eq!(sorted("10 9 x x"), "10 9 x");
    }

    /// Rows of the classes 0, 1 and 2.
    fn rows(train: &[usize], test: &[usize]) -> LabelledRows {
        let split = RowSplit {
            train: (0..train.len()).collect(),
            test: (train.len()..train.len() + test.len()).collect(),
            ..RowSplit::default()
        };
        LabelledRows { labels: [train, test].concat(), n_answers: 3, split, ..LabelledRows::default() }
    }

    #[test]
    fn the_majority_of_the_training_rows_predicts_the_test_rows() {
        assert_eq!(rows(&[0, 1, 1], &[0, 1, 0, 0]).majority(), 0.25);
        assert_eq!(rows(&[0, 1, 1, 2], &[0]).train_majority(), 0.5);
        assert_eq!(rows(&[0, 1], &[1]).majority(), 1.0, "the last of equally frequent classes");
        assert_eq!(LabelledRows::default().majority(), 0.0);
    }
}
