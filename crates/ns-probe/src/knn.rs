//! 1-nearest-neighbour classification (1-NN), which evaluates whether the vectors of a probe cluster by label.
//!
//! A *support set* holds a few training vectors per class. Every other vector is classified as its nearest neighbour in
//! the support set, by cosine similarity.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use ns_circuit::rng;

use crate::contrastive::normalize;
use crate::error::ProbeError;

/// Number of queries per similarity matrix, which bounds its memory.
const CHUNK: usize = 4096;

/// Accuracies of 1-NN classification, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnnReport {
    /// Accuracy on the training vectors outside the support set.
    pub dev_accuracy: f64,
    /// Accuracy on the test vectors.
    pub test_accuracy: f64,
    /// Share of the most frequent class in the training set: the accuracy of always predicting it.
    pub majority: f64,
}

/// Returns for each query the index of its nearest vector in `support`, by cosine similarity.
///
/// Ties go to the lowest index. A zero vector has cosine 0 with every vector.
///
/// # Shapes
/// - support: `[m, hidden]`, m ≥ 1
/// - queries: `[n, hidden]`
/// - output: `n` indices below `m`
///
/// # Errors
/// Returns [`ProbeError::Batch`] if `support` is empty or its width differs from that of `queries`.
pub fn nearest_neighbours(support: Tensor<2>, queries: Tensor<2>) -> Result<Vec<usize>, ProbeError> {
    let ([m, width], [n, query_width]) = (support.dims(), queries.dims());
    if m == 0 || width != query_width {
        return Err(ProbeError::Batch {
            what: "the support set",
            found: format!("[{m}, {width}]"),
            expected: format!("it needs at least one vector, of the same width as the queries [{n}, {query_width}]"),
        });
    }
    let support = normalize(support).transpose();
    let mut nearest = Vec::with_capacity(n);
    for start in (0..n).step_by(CHUNK) {
        let chunk = queries.clone().slice_dim(0, start..(start + CHUNK).min(n));
        let similarities = normalize(chunk).matmul(support.clone()).into_data();
        let similarities: Vec<f32> = similarities.iter().collect();
        nearest.extend(similarities.chunks(m).map(argmax));
    }
    Ok(nearest)
}

/// Index of the largest value; the lowest index in case of a tie.
fn argmax(row: &[f32]) -> usize {
    let better = |best: usize, (index, value): (usize, &f32)| if *value > row[best] { index } else { best };
    row.iter().enumerate().fold(0, better)
}

/// Evaluates vectors by 1-NN classification.
///
/// Samples a support set of `per_class` training vectors of each class, and classifies the other training vectors (dev)
/// and the test vectors by their nearest neighbour in it. `seed` determines the support set.
///
/// # Shapes
/// - train, test: vectors `[n, hidden]` and `n` labels; `n` may differ between train and test
///
/// # Errors
/// Returns [`ProbeError::LabelCount`] unless there is one label per vector, [`ProbeError::SmallClass`] if `per_class`
/// is 0 or a class has fewer training vectors, and [`ProbeError::Batch`] if there are no training vectors or the widths
/// of train and test differ.
pub fn evaluate_knn(
    train: (Tensor<2>, &[i64]),
    test: (Tensor<2>, &[i64]),
    per_class: usize,
    seed: u64,
) -> Result<KnnReport, ProbeError> {
    let (train_vectors, train_labels) = train;
    let (test_vectors, test_labels) = test;
    for (vectors, labels) in [(&train_vectors, train_labels), (&test_vectors, test_labels)] {
        if vectors.dims()[0] != labels.len() {
            return Err(ProbeError::LabelCount { tokens: vectors.dims()[0], labels: labels.len() });
        }
    }
    let classes = rows_by_class(train_labels);
    let support = sample_support(&classes, per_class, seed)?;
    let support_labels: Vec<i64> = support.iter().map(|row| train_labels[*row]).collect();
    let support_vectors = select(&train_vectors, &support);
    let accuracy = |vectors: Tensor<2>, labels: &[i64]| -> Result<f64, ProbeError> {
        let nearest = nearest_neighbours(support_vectors.clone(), vectors)?;
        let correct = nearest.iter().zip(labels).filter(|(row, label)| support_labels[**row] == **label).count();
        Ok(correct as f64 / labels.len().max(1) as f64)
    };
    let dev: Vec<usize> = (0..train_labels.len()).filter(|row| !support.contains(row)).collect();
    let dev_labels: Vec<i64> = dev.iter().map(|row| train_labels[*row]).collect();
    let most_frequent = classes.values().map(Vec::len).max().unwrap_or_default();
    Ok(KnnReport {
        dev_accuracy: accuracy(select(&train_vectors, &dev), &dev_labels)?,
        test_accuracy: accuracy(test_vectors, test_labels)?,
        majority: most_frequent as f64 / train_labels.len().max(1) as f64,
    })
}

/// Indices of the vectors of each class.
fn rows_by_class(labels: &[i64]) -> BTreeMap<i64, Vec<usize>> {
    let mut classes = BTreeMap::<i64, Vec<usize>>::new();
    for (row, label) in labels.iter().enumerate() {
        classes.entry(*label).or_default().push(row);
    }
    classes
}

/// Samples the support set: indices of `per_class` training vectors of each class, ordered by class.
fn sample_support(classes: &BTreeMap<i64, Vec<usize>>, per_class: usize, seed: u64) -> Result<Vec<usize>, ProbeError> {
    // The label fixes the sampled support sets, so it must not change.
    let mut stream = rng::stream(seed, "knn memory", 0, 0);
    let mut support = Vec::new();
    for (class, rows) in classes {
        if rows.len() < per_class || per_class == 0 {
            return Err(ProbeError::SmallClass { class: *class, found: rows.len(), wanted: per_class });
        }
        let sampled = rng::sample_without_replacement(&mut stream, rows.len(), per_class);
        support.extend(sampled.into_iter().map(|index| rows[index]));
    }
    Ok(support)
}

fn select(vectors: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let rows = Tensor::from_data(TensorData::new(rows.clone(), [rows.len()]), &vectors.device());
    vectors.clone().select(0, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn ties_go_to_the_lowest_row_and_zero_has_cosine_zero() {
        let device = Device::default();
        let support = Tensor::<2>::from_floats([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [-1.0, 0.0]], &device);
        let queries = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [-3.0, 1.0]], &device);
        assert_eq!(nearest_neighbours(support, queries).unwrap(), [1, 0, 0, 3]);
    }

    #[test]
    fn separable_classes_are_found() {
        let device = Device::default();
        let train = Tensor::<2>::from_floats([[1.0, 0.1], [3.0, 0.0], [0.0, 1.0], [0.1, 2.0], [0.0, 5.0]], &device);
        let test = Tensor::<2>::from_floats([[5.0, 1.0], [1.0, 5.0], [0.0, 1.0]], &device);
        let report = evaluate_knn((train, &[7, 7, 9, 9, 9]), (test, &[7, 9, 7]), 1, 0).unwrap();
        assert_eq!(report, KnnReport { dev_accuracy: 1.0, test_accuracy: 2.0 / 3.0, majority: 0.6 });
    }

    #[test]
    fn a_small_class_is_an_error() {
        let vectors = Tensor::<2>::ones([3, 2], &Device::default());
        let error = evaluate_knn((vectors.clone(), &[1, 1, 2]), (vectors, &[1, 1, 2]), 2, 0).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("class 2 has 1 training vectors, but the support set samples 2"), "{message}");
    }
}
