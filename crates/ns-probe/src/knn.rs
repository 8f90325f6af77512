//! 1-nearest-neighbour classification (1-NN), which evaluates whether the vectors of a probe cluster by label.
//!
//! A *support set* holds a few training vectors per class. Every other vector is classified as its nearest neighbour in
//! the support set, by cosine similarity.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use ns_circuit::rng;

use crate::contrastive::normalize;
use crate::error::ProbeError;

/// Number of queries per similarity matrix, which bounds its memory.
const CHUNK: usize = 4096;

/// The training vectors that are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// A sample of this many vectors per class.
    PerClass(usize),
    /// All training vectors. Nothing is sampled, and no vectors are left for `dev_accuracy`.
    All,
}

/// Settings of [`evaluate_knn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnnConfig {
    /// The support set.
    pub support: Support,
    /// Number of support sets that are sampled. The accuracies are their means.
    pub draws: usize,
    /// Seed of the samples.
    pub seed: u64,
    /// One distinct key per training vector, for example the index of its example. The sample depends on the keys and
    /// not on the order of the vectors, so vectors of the same examples from two models get the same support set.
    /// Without keys, the values of the vectors identify them.
    pub keys: Option<Vec<u64>>,
}

impl KnnConfig {
    /// One sample of `per_class` training vectors of each class, without keys.
    pub fn per_class(per_class: usize, seed: u64) -> Self {
        Self { support: Support::PerClass(per_class), draws: 1, seed, keys: None }
    }
}

/// Accuracies of 1-NN classification, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnnReport {
    /// Accuracy on the training vectors outside the support set; `None` if there are none.
    pub dev_accuracy: Option<f64>,
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
/// Samples a support set of the training vectors, and classifies the other training vectors (dev) and the test vectors
/// by their nearest neighbour in it. The result does not depend on the order of the vectors.
///
/// # Shapes
/// - train, test: vectors `[n, hidden]` and `n` labels; `n` may differ between train and test
///
/// # Errors
/// Returns [`ProbeError::LabelCount`] unless there is one label per vector, [`ProbeError::SmallClass`] if the number of
/// support vectors per class is 0 or a class has fewer training vectors, and [`ProbeError::Batch`] if there are no
/// training or no test vectors, no draws, if the widths of train and test differ, or if there is not one key per
/// training vector.
pub fn evaluate_knn(
    train: (Tensor<2>, &[i64]),
    test: (Tensor<2>, &[i64]),
    config: &KnnConfig,
) -> Result<KnnReport, ProbeError> {
    for (vectors, labels) in [&train, &test] {
        if vectors.dims()[0] != labels.len() {
            return Err(ProbeError::LabelCount { tokens: vectors.dims()[0], labels: labels.len() });
        }
    }
    // All support sets are equal if nothing is sampled.
    let draws = if config.support == Support::All { config.draws.min(1) } else { config.draws };
    for (what, found) in [("draws", draws), ("test vectors", test.1.len())] {
        if found == 0 {
            return Err(ProbeError::Batch { what, found: "0".into(), expected: "at least one is needed".into() });
        }
    }
    let (train_vectors, train_labels) = train;
    let classes = ordered_classes(&train_vectors, train_labels, config.keys.as_deref())?;
    let most_frequent = classes.values().map(Vec::len).max().unwrap_or_default();
    let (mut dev, mut tested) = (Vec::new(), Vec::new());
    for draw in 0..draws {
        let support = sample_support(&classes, config, draw as u64)?;
        let left = all_but(train_labels.len(), &support);
        let support = (select(&train_vectors, &support), select_labels(train_labels, &support));
        if !left.is_empty() {
            dev.push(accuracy(&support, select(&train_vectors, &left), &select_labels(train_labels, &left))?);
        }
        tested.push(accuracy(&support, test.0.clone(), test.1)?);
    }
    let mean = |accuracies: &[f64]| accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    Ok(KnnReport {
        dev_accuracy: (!dev.is_empty()).then(|| mean(&dev)),
        test_accuracy: mean(&tested),
        majority: most_frequent as f64 / train_labels.len().max(1) as f64,
    })
}

/// Share of the vectors whose nearest neighbour in the support set has their label.
fn accuracy(
    (support, support_labels): &(Tensor<2>, Vec<i64>),
    vectors: Tensor<2>,
    labels: &[i64],
) -> Result<f64, ProbeError> {
    let nearest = nearest_neighbours(support.clone(), vectors)?;
    let correct = nearest.iter().zip(labels).filter(|(row, label)| support_labels[**row] == **label).count();
    Ok(correct as f64 / labels.len() as f64)
}

/// Indices of the vectors of each class, in an order that does not depend on the order of the vectors: by key, or else
/// by value.
fn ordered_classes(
    vectors: &Tensor<2>,
    labels: &[i64],
    keys: Option<&[u64]>,
) -> Result<BTreeMap<i64, Vec<usize>>, ProbeError> {
    let mut classes = BTreeMap::<i64, Vec<usize>>::new();
    for (row, label) in labels.iter().enumerate() {
        classes.entry(*label).or_default().push(row);
    }
    match keys {
        Some(keys) if keys.len() != labels.len() => {
            let expected = format!("one per training vector, {}", labels.len());
            return Err(ProbeError::Batch { what: "keys", found: keys.len().to_string(), expected });
        }
        Some(keys) => classes.values_mut().for_each(|rows| rows.sort_by_key(|row| keys[*row])),
        None => {
            let (width, values) = (vectors.dims()[1], vectors.to_data().iter::<f32>().collect::<Vec<_>>());
            let value = |row: usize| &values[row * width..(row + 1) * width];
            let compare = |a: &usize, b: &usize| {
                let mut pairs = value(*a).iter().zip(value(*b)).map(|(a, b)| a.total_cmp(b));
                pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            };
            classes.values_mut().for_each(|rows| rows.sort_by(compare));
        }
    }
    Ok(classes)
}

/// Samples a support set: indices of training vectors, ordered by class.
fn sample_support(
    classes: &BTreeMap<i64, Vec<usize>>,
    config: &KnnConfig,
    draw: u64,
) -> Result<Vec<usize>, ProbeError> {
    let Support::PerClass(per_class) = config.support else {
        return Ok(classes.values().flatten().copied().collect());
    };
    // The label fixes the sampled support sets, so it must not change.
    let mut stream = rng::stream(config.seed, "knn memory", draw, 0);
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

/// The rows below `n` that are not among `rows`, in ascending order.
fn all_but(n: usize, rows: &[usize]) -> Vec<usize> {
    let mut is_left = vec![true; n];
    rows.iter().for_each(|row| is_left[*row] = false);
    (0..n).filter(|row| is_left[*row]).collect()
}

fn select_labels(labels: &[i64], rows: &[usize]) -> Vec<i64> {
    rows.iter().map(|row| labels[*row]).collect()
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

    /// Overlapping classes, so that the accuracy depends on the support set.
    fn overlapping(n: usize) -> (Vec<[f32; 2]>, Vec<i64>) {
        let mut stream = rng::stream(0, "test", 0, 0);
        let vectors = (0..n).map(|row| [rng::standard_normal(&mut stream) + (row % 2) as f32, 1.0]).collect();
        (vectors, (0..n).map(|row| (row % 2) as i64).collect())
    }

    fn tensor(vectors: &[[f32; 2]]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(vectors.concat(), [vectors.len(), 2]), &Device::default())
    }

    fn evaluate(train: &(Vec<[f32; 2]>, Vec<i64>), test: &(Vec<[f32; 2]>, Vec<i64>), config: &KnnConfig) -> KnnReport {
        evaluate_knn((tensor(&train.0), &train.1), (tensor(&test.0), &test.1), config).unwrap()
    }

    #[test]
    fn separable_classes_are_found() {
        let device = Device::default();
        let train = Tensor::<2>::from_floats([[1.0, 0.1], [3.0, 0.0], [0.0, 1.0], [0.1, 2.0], [0.0, 5.0]], &device);
        let test = Tensor::<2>::from_floats([[5.0, 1.0], [1.0, 5.0], [0.0, 1.0]], &device);
        let (train, test) = ((train, &[7, 7, 9, 9, 9][..]), (test, &[7, 9, 7][..]));
        let expected = KnnReport { dev_accuracy: Some(1.0), test_accuracy: 2.0 / 3.0, majority: 0.6 };
        let report = evaluate_knn(train.clone(), test.clone(), &KnnConfig::per_class(1, 0)).unwrap();
        assert_eq!(report, expected);
        let all = KnnConfig { support: Support::All, ..KnnConfig::per_class(1, 0) };
        let report = evaluate_knn(train, test, &all).unwrap();
        assert_eq!(report, KnnReport { dev_accuracy: None, ..expected });
    }

    #[test]
    fn the_order_of_the_vectors_does_not_matter() {
        let (train, test) = (overlapping(60), overlapping(40));
        let order = rng::permutation(&mut rng::stream(1, "test", 0, 0), 60);
        let permuted = (order.iter().map(|row| train.0[*row]).collect(), select_labels(&train.1, &order));
        let mut reports = Vec::new();
        for seed in 0..8 {
            let mut config = KnnConfig::per_class(2, seed);
            reports.push(evaluate(&train, &test, &config));
            assert_eq!(evaluate(&permuted, &test, &config), reports[seed as usize]);

            config.keys = Some((0..60).collect());
            let by_key = evaluate(&train, &test, &config);
            config.keys = Some(order.iter().map(|row| *row as u64).collect());
            assert_eq!(evaluate(&permuted, &test, &config), by_key);
        }
        let differ = reports.iter().any(|report| *report != reports[0]);
        assert!(differ, "the seed must matter, or the test shows nothing: {reports:?}");
    }

    #[test]
    fn draws_are_averaged() {
        let (train, test) = (overlapping(60), overlapping(40));
        let config = KnnConfig { draws: 16, ..KnnConfig::per_class(1, 0) };
        let report = evaluate(&train, &test, &config);
        // The accuracy of 16 draws on 40 vectors is a multiple of 1/640, and not one of 1/40.
        let hits = report.test_accuracy * 640.0;
        assert!((hits - hits.round()).abs() < 1e-6 && hits.round() % 16.0 != 0.0, "{report:?}");
        assert_eq!(report.majority, 0.5);
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error() {
        let vectors = Tensor::<2>::ones([3, 2], &Device::default());
        let error = |config: &KnnConfig| {
            let labelled = (vectors.clone(), &[1, 1, 2][..]);
            evaluate_knn(labelled.clone(), labelled, config).unwrap_err().to_string()
        };
        let message = error(&KnnConfig::per_class(2, 0));
        assert!(message.starts_with("class 2 has 1 training vectors, but the support set samples 2"), "{message}");
        let message = error(&KnnConfig { draws: 0, ..KnnConfig::per_class(1, 0) });
        assert!(message.contains("draws"), "{message}");
        let none = (vectors.clone().slice_dim(0, 0..0), &[][..]);
        let error_of = evaluate_knn((vectors.clone(), &[1, 1, 2]), none, &KnnConfig::per_class(1, 0)).unwrap_err();
        assert!(error_of.to_string().contains("test vectors"), "{error_of}");
        let message = error(&KnnConfig { keys: Some(vec![1, 2]), ..KnnConfig::per_class(1, 0) });
        assert!(message.contains("keys") && message.contains("one per training vector, 3"), "{message}");
    }
}
