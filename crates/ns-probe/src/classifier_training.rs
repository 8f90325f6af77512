//! Training of a classifier on given vectors.

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Tensor, TensorData};
use ns_circuit::AdamW;

use crate::classifier::Classifier;
use crate::error::ProbeError;

/// Trains a classifier on vectors, with a step of AdamW on the mean cross entropy for each of the `batches`, which hold
/// indices of vectors. Returns the trained classifier and the loss before each step, `[batches]`.
///
/// This is plain probing of vectors that were computed before, for example by
/// [`ProbeBatch::vectors_at`](crate::ProbeBatch::vectors_at). The classifier must be on a device with autodiff.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use ns_circuit::AdamW;
/// use ns_probe::{Classifier, train_classifier};
///
/// let device = Device::default().autodiff();
/// let vectors = Tensor::<2>::from_floats([[1.0, 0.1], [2.0, 0.0], [0.0, 1.0], [0.1, 3.0]], &device);
/// let classifier = Classifier::new(2, None, 2, 0, &device)?;
/// let batches = vec![vec![0, 1, 2, 3]; 30];
/// let (classifier, losses) =
///     train_classifier(classifier, &vectors, &[0, 0, 1, 1], &batches, AdamW::default(), 0.1)?;
/// assert!(losses[29] < 0.2);
/// # Ok::<(), ns_probe::ProbeError>(())
/// ```
///
/// # Shapes
/// - vectors: `[n, width]`
/// - labels: `[n]`
///
/// # Errors
/// Returns [`ProbeError::LabelCount`] unless each vector has a label, and [`ProbeError::Batch`] for vectors of another
/// width, for a label that is no class, and for a batch that is empty or contains an index of no vector.
pub fn train_classifier(
    mut classifier: Classifier,
    vectors: &Tensor<2>,
    labels: &[i64],
    batches: &[Vec<usize>],
    optimizer: AdamW,
    learning_rate: f64,
) -> Result<(Classifier, Vec<f32>), ProbeError> {
    classifier.check(vectors, labels)?;
    check_batches(batches, labels.len())?;
    let mut optimizer: ModuleOptimizer = optimizer.into();
    let mut losses = Vec::with_capacity(batches.len());
    for batch in batches {
        let batch_labels: Vec<i64> = batch.iter().map(|row| labels[*row]).collect();
        let loss = classifier.loss(select(vectors, batch), &batch_labels)?;
        losses.push(loss.clone().into_scalar());
        let gradients = GradientsParams::from_grads(loss.backward(), &classifier);
        classifier = optimizer.step(learning_rate, classifier, gradients);
    }
    Ok((classifier, losses))
}

fn check_batches(batches: &[Vec<usize>], n: usize) -> Result<(), ProbeError> {
    let invalid = |index: usize, found: String| {
        let expected = format!("it must hold indices of the {n} vectors, at least one");
        Err(ProbeError::Batch { what: "a batch", found: format!("{found} (batch {index})"), expected })
    };
    for (index, batch) in batches.iter().enumerate() {
        if batch.is_empty() {
            return invalid(index, "empty".into());
        }
        if let Some(row) = batch.iter().find(|row| **row >= n) {
            return invalid(index, format!("one with index {row}"));
        }
    }
    Ok(())
}

fn select(vectors: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let indices: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    vectors.clone().select(0, Tensor::from_data(TensorData::new(indices, [rows.len()]), &vectors.device()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn train(batches: &[Vec<usize>]) -> Result<(Classifier, Vec<f32>), ProbeError> {
        let vectors = Tensor::<2>::from_floats([[1.0], [-1.0]], &Device::default());
        let mut classifier = Classifier::new(1, None, 2, 0, &Device::default().autodiff()).unwrap();
        let zero = |shape: &[usize]| TensorData::new(vec![0_f32; 2], shape.to_vec());
        let zeros = [("0.weight".into(), zero(&[2, 1])), ("0.bias".into(), zero(&[2]))];
        classifier.load_params(&zeros.into_iter().collect()).unwrap();
        train_classifier(classifier, &vectors, &[0, 1], batches, AdamW::default(), 0.1)
    }

    #[test]
    fn a_step_worked_out_by_hand() {
        // At 0 both probabilities are ½. The first step of Adam moves each weight by the learning rate.
        let (classifier, losses) = train(&[vec![0, 1]]).unwrap();
        assert!((losses[0] - std::f32::consts::LN_2).abs() < 1e-6);
        let weight: Vec<f32> = classifier.params()["0.weight"].iter().collect();
        assert!((weight[0] - 0.1).abs() < 1e-6 && (weight[1] + 0.1).abs() < 1e-6, "{weight:?}");
        let (_, losses) = train(&[vec![0, 1], vec![0]]).unwrap();
        // Then the logits of the first vector are ±0.1.
        assert!((losses[1] - (1.0 + (-0.2_f32).exp()).ln()).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    fn batches_without_vectors_are_refused() {
        assert!(train(&[]).unwrap().1.is_empty());
        for batches in [vec![vec![0], vec![]], vec![vec![2]]] {
            assert!(matches!(train(&batches), Err(ProbeError::Batch { what: "a batch", .. })));
        }
    }
}
