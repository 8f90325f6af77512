//! Shuffled labels for control tasks.
//!
//! Shuffled labels do not depend on the contents of the examples. A probe can only memorise them, so its accuracy shows
//! how much a probe memorises rather than what the model represents (Hewitt and Liang 2019,
//! [*Designing and Interpreting Probes with Control Tasks*](https://arxiv.org/abs/1909.03368)).

use std::ops::Range;

use ns_circuit::rng;

use super::LabelledRows;

/// Permutes the labels among the rows of each set. All labels of a row stay equal.
pub(super) fn permuted(rows: &LabelledRows, seed: u64) -> LabelledRows {
    permute(rows, seed, |row| vec![rows.range(row)])
}

/// Permutes the labels among all positions that are read in each set.
pub(super) fn permuted_labels(rows: &LabelledRows, seed: u64) -> LabelledRows {
    permute(rows, seed, |row| rows.range(row).map(|label| label..label + 1).collect())
}

/// Permutes labels inside each set. `slots` returns the ranges of a row's labels that get one label each.
fn permute(rows: &LabelledRows, seed: u64, slots: impl Fn(usize) -> Vec<Range<usize>>) -> LabelledRows {
    let mut shuffled = rows.clone();
    for (set, side) in rows.split.sets() {
        let slots: Vec<Range<usize>> =
            side.iter().flat_map(|row| slots(*row)).filter(|slot| !slot.is_empty()).collect();
        let order = rng::permutation(&mut rng::stream(seed, &format!("control/{set}"), 0, 0), slots.len());
        for (slot, from) in slots.iter().zip(order) {
            shuffled.labels[slot.clone()].fill(rows.labels[slots[from].start]);
        }
    }
    shuffled
}

/// Assigns one label to each word type, sampled from the labels of the training rows. `words` holds the type of each
/// label. All labels of a type are equal.
pub(super) fn by_type(rows: &LabelledRows, words: &[String], seed: u64) -> LabelledRows {
    let train: Vec<usize> = rows.split.train.iter().flat_map(|row| rows.of(*row)).copied().collect();
    let label = |word: &String| {
        let mut stream = rng::stream(seed, &format!("control/{word}"), 0, 0);
        train.get(rng::below(&mut stream, train.len())).copied().unwrap_or_default()
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
