//! 1-nearest-neighbour evaluation of a probe's vectors.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use ns_circuit::rng;

use crate::contrastive::normalize;
use crate::error::ProbeError;

/// Queries that are compared at once.
const CHUNK: usize = 4096;

/// Accuracies of 1-NN classification.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnnReport {
    /// On the training vectors that are no memory.
    pub dev_accuracy: f64,
    /// On the test vectors.
    pub test_accuracy: f64,
    /// Share of the most frequent class in the training set: what answering without looking would reach.
    pub majority: f64,
}

/// Row of `memory` that is nearest to each query by cosine; ties go to the lowest row, and a zero vector has cosine 0
/// with everything.
///
/// # Shapes
/// - memory: `[m, hidden]`, m ≥ 1
/// - queries: `[n, hidden]`
///
/// # Errors
/// [`ProbeError::Batch`] for an empty memory or vectors of another width.
pub fn nearest_neighbours(memory: Tensor<2>, queries: Tensor<2>) -> Result<Vec<usize>, ProbeError> {
    let ([m, width], [n, query_width]) = (memory.dims(), queries.dims());
    if m == 0 || width != query_width {
        return Err(ProbeError::Batch {
            what: "k-NN memory",
            found: format!("[{m}, {width}]"),
            expected: format!("it needs a row, and queries are [{n}, {query_width}]"),
        });
    }
    let memory = normalize(memory).transpose();
    let mut nearest = Vec::with_capacity(n);
    for start in (0..n).step_by(CHUNK) {
        let chunk = queries.clone().slice_dim(0, start..(start + CHUNK).min(n));
        let similarities = normalize(chunk).matmul(memory.clone()).into_data();
        let similarities: Vec<f32> = similarities.iter().collect();
        nearest.extend(similarities.chunks(m).map(first_maximum));
    }
    Ok(nearest)
}

fn first_maximum(row: &[f32]) -> usize {
    let better = |best: usize, (place, value): (usize, &f32)| if *value > row[best] { place } else { best };
    row.iter().enumerate().fold(0, better)
}

/// Draws `per_class` training vectors of each class as memory, and classifies the other training vectors (dev) and the
/// test vectors by their nearest neighbour in it.
///
/// # Shapes
/// - train, test: `[n, hidden]` with `[n]` labels each
///
/// # Errors
/// [`ProbeError::SmallClass`] when a class has too few training vectors, [`ProbeError::LabelCount`].
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
    let memory = draw_memory(&classes, per_class, seed)?;
    let memory_labels: Vec<i64> = memory.iter().map(|row| train_labels[*row]).collect();
    let memory_vectors = select(&train_vectors, &memory);
    let accuracy = |vectors: Tensor<2>, labels: &[i64]| -> Result<f64, ProbeError> {
        let nearest = nearest_neighbours(memory_vectors.clone(), vectors)?;
        let right = nearest.iter().zip(labels).filter(|(row, label)| memory_labels[**row] == **label).count();
        Ok(right as f64 / labels.len().max(1) as f64)
    };
    let dev: Vec<usize> = (0..train_labels.len()).filter(|row| !memory.contains(row)).collect();
    let dev_labels: Vec<i64> = dev.iter().map(|row| train_labels[*row]).collect();
    let most_frequent = classes.values().map(Vec::len).max().unwrap_or_default();
    Ok(KnnReport {
        dev_accuracy: accuracy(select(&train_vectors, &dev), &dev_labels)?,
        test_accuracy: accuracy(test_vectors, test_labels)?,
        majority: most_frequent as f64 / train_labels.len().max(1) as f64,
    })
}

fn rows_by_class(labels: &[i64]) -> BTreeMap<i64, Vec<usize>> {
    let mut classes = BTreeMap::<i64, Vec<usize>>::new();
    for (row, label) in labels.iter().enumerate() {
        classes.entry(*label).or_default().push(row);
    }
    classes
}

/// Rows of the memory, ordered by class.
fn draw_memory(classes: &BTreeMap<i64, Vec<usize>>, per_class: usize, seed: u64) -> Result<Vec<usize>, ProbeError> {
    let mut stream = rng::stream(seed, "knn memory", 0, 0);
    let mut memory = Vec::new();
    for (class, rows) in classes {
        if rows.len() < per_class || per_class == 0 {
            return Err(ProbeError::SmallClass { class: *class, found: rows.len(), wanted: per_class });
        }
        let drawn = rng::sample_without_replacement(&mut stream, rows.len(), per_class);
        memory.extend(drawn.into_iter().map(|place| rows[place]));
    }
    Ok(memory)
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
        let memory = Tensor::<2>::from_floats([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [-1.0, 0.0]], &device);
        let queries = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [-3.0, 1.0]], &device);
        assert_eq!(nearest_neighbours(memory, queries).unwrap(), [1, 0, 0, 3]);
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
        assert_eq!(error.to_string(), "class 2 has 1 training vectors, but 2 a class are wanted as memory");
    }
}
