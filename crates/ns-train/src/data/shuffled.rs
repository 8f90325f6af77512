//! Shuffled labels for control tasks.
//!
//! Shuffled labels do not depend on the contents of the examples. A probe can only memorise them, so its accuracy shows
//! how much a probe memorises rather than what the model represents (Hewitt and Liang 2019,
//! [*Designing and Interpreting Probes with Control Tasks*](https://arxiv.org/abs/1909.03368)).

use ns_circuit::rng;

use super::LabelledRows;

/// Permutes the labels among the training rows, and among the test rows.
pub(super) fn permuted(rows: &LabelledRows, seed: u64) -> LabelledRows {
    let mut shuffled = rows.clone();
    for (name, side) in [("control/train", &rows.split.train), ("control/test", &rows.split.test)] {
        let order = rng::permutation(&mut rng::stream(seed, name, 0, 0), side.len());
        for (row, from) in side.iter().zip(order) {
            shuffled.labels[*row] = rows.labels[side[from]];
        }
    }
    shuffled
}

/// Assigns one label to each word type, sampled from the labels of the training rows. All rows of a type have its
/// label.
pub(super) fn by_type(rows: &LabelledRows, words: &[String], seed: u64) -> LabelledRows {
    let train = &rows.split.train;
    let label = |word: &String| {
        let mut stream = rng::stream(seed, &format!("control/{word}"), 0, 0);
        let row = train.get(rng::below(&mut stream, train.len()));
        row.map_or(0, |row| rows.labels[*row])
    };
    LabelledRows { labels: words.iter().map(label).collect(), ..rows.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::RowSplit;
    use super::*;

    fn rows(labels: Vec<usize>, train: Vec<usize>, test: Vec<usize>) -> LabelledRows {
        LabelledRows { labels, split: RowSplit { train, test, ..RowSplit::default() }, ..LabelledRows::default() }
    }

    #[test]
    fn permuted_labels_stay_on_their_side() {
        let rows = rows(vec![0, 0, 1, 1, 2, 2, 3, 3], vec![7, 0, 1, 2, 3], vec![4, 5, 6]);
        let sorted = |labels: &[usize], rows: &[usize]| {
            let mut labels: Vec<usize> = rows.iter().map(|row| labels[*row]).collect();
            labels.sort_unstable();
            labels
        };
        for seed in 0..5 {
            let shuffled = permuted(&rows, seed);
            assert_eq!(shuffled, permuted(&rows, seed));
            for side in [&rows.split.train, &rows.split.test] {
                assert_eq!(sorted(&shuffled.labels, side), sorted(&rows.labels, side));
            }
        }
        assert!((0..5).any(|seed| permuted(&rows, seed) != rows));
        assert!((1..5).any(|seed| permuted(&rows, seed) != permuted(&rows, 0)));
    }

    #[test]
    fn a_type_has_one_label() {
        let words: Vec<String> = (0..4000).map(|row| format!("word{}", row % 1000)).collect();
        let rows = rows((0..4000).map(|row| row % 4).collect(), (0..3000).collect(), (3000..4000).collect());
        let control = by_type(&rows, &words, 0).labels;
        assert!((0..1000).all(|word| (1..4).all(|repeat| control[word] == control[word + 1000 * repeat])));
        for class in 0..4 {
            let rows = control.iter().filter(|label| **label == class).count();
            assert!((850..1150).contains(&rows), "{rows}");
        }
        assert_ne!(control, by_type(&rows, &words, 1).labels);
    }
}
