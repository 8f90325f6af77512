//! Shuffled labels for control tasks.
//!
//! Shuffled labels do not depend on the contents of the examples. A probe can only memorise them, so its accuracy shows
//! how much a probe memorises rather than what the model represents (Hewitt and Liang 2019,
//! [*Designing and Interpreting Probes with Control Tasks*](https://arxiv.org/abs/1909.03368)).

use ns_circuit::rng;

use super::RowSplit;

/// Permutes the labels among the training rows, and among the test rows.
pub(super) fn permuted(labels: &[usize], split: &RowSplit, seed: u64) -> Vec<usize> {
    let mut shuffled = labels.to_vec();
    for (name, rows) in [("control/train", &split.train), ("control/test", &split.test)] {
        let order = rng::permutation(&mut rng::stream(seed, name, 0, 0), rows.len());
        for (row, from) in rows.iter().zip(order) {
            shuffled[*row] = labels[rows[from]];
        }
    }
    shuffled
}

/// Assigns one label to each word type, sampled from the labels of the training rows. All rows of a type have its
/// label.
pub(super) fn by_type(labels: &[usize], words: &[String], split: &RowSplit, seed: u64) -> Vec<usize> {
    let label = |word: &String| {
        let mut stream = rng::stream(seed, &format!("control/{word}"), 0, 0);
        let row = split.train.get(rng::below(&mut stream, split.train.len()));
        row.map_or(0, |row| labels[*row])
    };
    words.iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permuted_labels_stay_on_their_side() {
        let labels = [0, 0, 1, 1, 2, 2, 3, 3];
        let split = RowSplit { train: vec![7, 0, 1, 2, 3], test: vec![4, 5, 6] };
        let sorted = |labels: &[usize], rows: &[usize]| {
            let mut labels: Vec<usize> = rows.iter().map(|row| labels[*row]).collect();
            labels.sort_unstable();
            labels
        };
        for seed in 0..5 {
            let shuffled = permuted(&labels, &split, seed);
            assert_eq!(shuffled, permuted(&labels, &split, seed));
            assert_eq!(sorted(&shuffled, &split.train), sorted(&labels, &split.train));
            assert_eq!(sorted(&shuffled, &split.test), sorted(&labels, &split.test));
        }
        assert!((0..5).any(|seed| permuted(&labels, &split, seed) != labels));
        assert!((1..5).any(|seed| permuted(&labels, &split, seed) != permuted(&labels, &split, 0)));
    }

    #[test]
    fn a_type_has_one_label() {
        let words: Vec<String> = (0..4000).map(|row| format!("word{}", row % 1000)).collect();
        let labels: Vec<usize> = (0..4000).map(|row| row % 4).collect();
        let split = RowSplit { train: (0..3000).collect(), test: (3000..4000).collect() };
        let control = by_type(&labels, &words, &split, 0);
        assert!((0..1000).all(|word| (1..4).all(|repeat| control[word] == control[word + 1000 * repeat])));
        for class in 0..4 {
            let rows = control.iter().filter(|label| **label == class).count();
            assert!((850..1150).contains(&rows), "{rows}");
        }
        assert_ne!(control, by_type(&labels, &words, &split, 1));
    }
}
