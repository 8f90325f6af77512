//! Predictions of the classifier of a subnetwork or linear probe.

use burn::tensor::Tensor;
use ns_models::{AnyTransformer, Model};
use ns_probe::{ActivationCache, Probe, SubnetworkProbe};

use crate::data::Dataset;
use crate::error::TrainError;

/// Rows per forward pass.
const EVALUATION_BATCH: usize = 128;

/// Predicted classes and labels, in the same order.
pub(crate) struct Predictions {
    predicted: Vec<i64>,
    labels: Vec<i64>,
}

/// Predicts the labels of some rows with a probe in evaluation mode.
///
/// # Errors
/// Returns [`TrainError::Probe`] if a forward pass fails, and errors of the data set.
pub(crate) fn predict(
    probe: &SubnetworkProbe<AnyTransformer>,
    data: &dyn Dataset,
    rows: &[usize],
    activations: &mut ActivationCache,
) -> Result<Predictions, TrainError> {
    let best = |logits: Tensor<2>| logits.argmax(1).into_data().iter::<i64>().collect();
    Ok(Predictions { predicted: outputs(probe, data, rows, activations, best)?, labels: data.labels(rows) })
}

/// Reads the logits of some rows from a probe in evaluation mode. `read` takes those of a batch, `[labels, classes]`.
///
/// # Errors
/// Returns [`TrainError::Probe`] if a forward pass fails, and errors of the data set.
pub(crate) fn outputs<T>(
    probe: &SubnetworkProbe<AnyTransformer>,
    data: &dyn Dataset,
    rows: &[usize],
    activations: &mut ActivationCache,
    read: impl Fn(Tensor<2>) -> Vec<T>,
) -> Result<Vec<T>, TrainError> {
    let device = probe.circuit().base().device();
    let mut outputs = Vec::new();
    for rows in rows.chunks(EVALUATION_BATCH) {
        let batch = data.batch(rows, &device)?;
        let frozen = probe.cached_activations(activations, rows, &batch)?;
        outputs.extend(read(probe.forward_from(&frozen, &batch)?.logits));
    }
    Ok(outputs)
}

impl Predictions {
    /// Share of right predictions; 0 without labels.
    pub(crate) fn accuracy(&self) -> f64 {
        let correct = self.predicted.iter().zip(&self.labels).filter(|(class, label)| class == label).count();
        correct as f64 / self.labels.len().max(1) as f64
    }

    /// Mean over the classes of the harmonic mean of precision and recall, `2·TP / (2·TP + FP + FN)`. Classes that are
    /// neither predicted nor a label are left out, as in scikit-learn's `f1_score(average="macro")`.
    pub(crate) fn f1_macro(&self) -> f64 {
        let mut classes: Vec<i64> = self.predicted.iter().chain(&self.labels).copied().collect();
        classes.sort_unstable();
        classes.dedup();
        let f1 = |class: &i64| {
            let pairs = || self.predicted.iter().zip(&self.labels);
            let both = pairs().filter(|(predicted, label)| *predicted == class && *label == class).count();
            let sides = pairs().map(|(predicted, label)| usize::from(predicted == class) + usize::from(label == class));
            2.0 * both as f64 / sides.sum::<usize>() as f64
        };
        classes.iter().map(f1).sum::<f64>() / classes.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_is_the_mean_over_classes() {
        let predictions = Predictions { predicted: vec![0, 0, 1, 1, 3], labels: vec![0, 1, 1, 1, 0] };
        assert_eq!(predictions.accuracy(), 0.6);
        // Class 0: 2/4, class 1: 4/5, class 3: 0.
        assert!((predictions.f1_macro() - (0.5 + 0.8) / 3.0).abs() < 1e-12, "{}", predictions.f1_macro());
    }
}
