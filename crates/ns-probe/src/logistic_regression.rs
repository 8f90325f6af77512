//! Multinomial logistic regression with a penalty, to its exact minimum in `f64`.

mod newton;
mod objective;

use nalgebra::DMatrix;

use self::newton::minimize;
use self::objective::{Objective, softmax_rows};
use crate::error::ProbeError;

/// A logistic regression at its minimum; see [`logistic_regression`].
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticRegression {
    /// Weights `[classes, width]`, row by row. Each column sums to 0.
    pub weight: Vec<f64>,
    /// Biases `[classes]`, with mean 0.
    pub bias: Vec<f64>,
    /// Mean cross entropy plus penalty at the minimum.
    pub objective: f64,
    /// Mean cross entropy at the minimum, in nats.
    pub cross_entropy: f64,
    /// Largest absolute value of the gradient, with respect to weights and biases for centred vectors.
    pub max_abs_gradient: f64,
    /// Number of Newton steps.
    pub iterations: usize,
}

/// Minimises the mean cross entropy plus `l2 / 2 · |W|²` over weights and biases of a linear classifier. The biases are not
/// penalised.
///
/// The minimum is unique up to a common shift of all biases; the one with mean 0 is returned. Two classes are not a special
/// case. In scikit-learn's `LogisticRegression` it is `C = 1 / (n · l2)`; for two classes, whose single weight vector there is
/// row 1 minus row 0 here, `C = 2 / (n · l2)`.
///
/// The minimum is found by Newton's method with conjugate gradients, so nothing of the size of the Hessian is stored. A step
/// costs a few hundred products with the vectors at most.
///
/// ```
/// use ns_probe::logistic_regression;
///
/// // Four vectors of width 2, row by row.
/// let vectors = [1.0, 0.1, 2.0, 0.0, 0.0, 1.0, 0.1, 3.0];
/// let fit = logistic_regression(&vectors, &[0, 0, 1, 1], 2, 0.01)?;
/// assert_eq!(fit.predictions(&vectors)?, [0, 0, 1, 1]);
/// # Ok::<(), ns_probe::ProbeError>(())
/// ```
///
/// # Shapes
/// - vectors: `[n, width]`, row by row
/// - labels: `[n]`, from 0 to `classes − 1`; every class must occur, because otherwise there is no minimum
///
/// # Errors
/// Returns [`ProbeError::Config`] for fewer than two classes and for an `l2` that is not positive and finite,
/// [`ProbeError::LabelCount`] unless the number of values is a multiple of that of labels, [`ProbeError::Batch`] if there
/// are no vectors, if a value is not finite, if a label is no class or if a class does not occur, and
/// [`ProbeError::NotConverged`] if the gradient cannot be reduced to 10⁻¹⁰ (times the largest centred value, if it exceeds
/// 1).
pub fn logistic_regression(
    vectors: &[f64],
    labels: &[i64],
    classes: usize,
    l2: f64,
) -> Result<LogisticRegression, ProbeError> {
    check_settings(classes, l2)?;
    check_labels(vectors, labels, classes)?;
    check_finite(vectors)?;
    let mut vectors = DMatrix::from_row_slice(labels.len(), vectors.len() / labels.len(), vectors);
    // The minimum in centred vectors is the same with another bias, and is found in far fewer steps.
    let means = vectors.row_mean();
    vectors.row_iter_mut().for_each(|mut row| row -= &means);
    let tolerance = 1e-10 * vectors.amax().max(1.0);
    let labels: Vec<usize> = labels.iter().map(|label| *label as usize).collect();
    let objective = Objective::new(vectors, labels, classes, l2);
    let minimum = minimize(&objective, tolerance)?;
    let weight = objective.weight(&minimum.parameters);
    let shift = &weight * means.transpose();
    let bias = objective.bias(&minimum.parameters);
    Ok(LogisticRegression {
        weight: weight.transpose().as_slice().to_vec(),
        bias: bias.iter().zip(shift.iter()).map(|(bias, shift)| bias - shift).collect(),
        objective: minimum.at.value,
        cross_entropy: minimum.at.cross_entropy,
        max_abs_gradient: minimum.at.gradient.amax(),
        iterations: minimum.iterations,
    })
}

impl LogisticRegression {
    /// Logits `[n, classes]` of vectors `[n, width]`, both row by row.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] for vectors of another width.
    pub fn logits(&self, vectors: &[f64]) -> Result<Vec<f64>, ProbeError> {
        Ok(rows(&self.logit_matrix(vectors)?))
    }

    /// Probabilities `[n, classes]` of vectors `[n, width]`, both row by row.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] for vectors of another width.
    pub fn probabilities(&self, vectors: &[f64]) -> Result<Vec<f64>, ProbeError> {
        Ok(rows(&softmax_rows(self.logit_matrix(vectors)?).0))
    }

    /// The class with the highest logit for each of the vectors `[n, width]`; of equal ones the first.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] for vectors of another width.
    pub fn predictions(&self, vectors: &[f64]) -> Result<Vec<i64>, ProbeError> {
        let logits = self.logit_matrix(vectors)?;
        Ok(logits.row_iter().map(|row| row.transpose().imax() as i64).collect())
    }

    fn logit_matrix(&self, vectors: &[f64]) -> Result<DMatrix<f64>, ProbeError> {
        let (classes, width) = (self.bias.len(), self.weight.len() / self.bias.len());
        if !vectors.len().is_multiple_of(width) {
            let expected = format!("it must be a multiple of the width, {width}");
            return Err(ProbeError::Batch { what: "the number of values", found: vectors.len().to_string(), expected });
        }
        let vectors = DMatrix::from_row_slice(vectors.len() / width, width, vectors);
        let mut logits = vectors * DMatrix::from_row_slice(classes, width, &self.weight).transpose();
        for (mut column, bias) in logits.column_iter_mut().zip(&self.bias) {
            column.add_scalar_mut(*bias);
        }
        Ok(logits)
    }
}

/// The values of a matrix, row by row.
fn rows(matrix: &DMatrix<f64>) -> Vec<f64> {
    matrix.transpose().as_slice().to_vec()
}

fn check_settings(classes: usize, l2: f64) -> Result<(), ProbeError> {
    let invalid =
        |field, found: String, expected: &str| Err(ProbeError::Config { field, found, expected: expected.into() });
    if classes < 2 {
        return invalid("classes", classes.to_string(), "a classifier needs at least two");
    }
    match l2 > 0.0 && l2.is_finite() {
        true => Ok(()),
        false => invalid("l2", l2.to_string(), "it must be positive and finite, so that there is one minimum"),
    }
}

fn check_labels(vectors: &[f64], labels: &[i64], classes: usize) -> Result<(), ProbeError> {
    let invalid = |what, found: String, expected: String| Err(ProbeError::Batch { what, found, expected });
    if labels.is_empty() || vectors.is_empty() {
        return invalid("the list of vectors or labels", "empty".into(), "at least one of each class is needed".into());
    }
    if !vectors.len().is_multiple_of(labels.len()) {
        return Err(ProbeError::LabelCount { tokens: vectors.len(), labels: labels.len() });
    }
    let mut occurs = vec![false; classes];
    for label in labels {
        match usize::try_from(*label).ok().and_then(|label| occurs.get_mut(label)) {
            Some(occurs) => *occurs = true,
            None => {
                let expected = format!("there are {classes} classes, numbered from 0");
                return invalid("label", label.to_string(), expected);
            }
        }
    }
    match occurs.iter().position(|occurs| !occurs) {
        None => Ok(()),
        Some(class) => {
            let expected = "every class must occur; the bias of one that does not has no minimum".into();
            invalid("the set of labels", format!("without class {class}"), expected)
        }
    }
}

fn check_finite(vectors: &[f64]) -> Result<(), ProbeError> {
    match vectors.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => {
            let found = format!("{} (value {index})", vectors[index]);
            Err(ProbeError::Batch { what: "a value of the vectors", found, expected: "all must be finite".into() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() < tolerance, "{found}, but {expected} was expected");
    }

    #[test]
    fn two_points_have_a_minimum_in_closed_form() {
        // With x = ±1 and weights (w, −w): the objective is ln(1 + exp(−2w)) + l2 w², so l2 w = 1 / (1 + exp(2w)).
        let w = 0.7;
        let l2 = 1.0 / (w * (1.0 + f64::exp(2.0 * w)));
        let fit = logistic_regression(&[1.0, -1.0], &[0, 1], 2, l2).unwrap();
        assert_near(fit.weight[0], w, 1e-9);
        assert_near(fit.weight[1], -w, 1e-9);
        assert_near(fit.bias[0], 0.0, 1e-9);
        assert_near(fit.cross_entropy, (1.0 + f64::exp(-2.0 * w)).ln(), 1e-9);
        assert_near(fit.objective, fit.cross_entropy + l2 * w * w, 1e-12);
        assert_near(fit.probabilities(&[1.0]).unwrap()[0], 1.0 / (1.0 + f64::exp(-2.0 * w)), 1e-9);
        // Moved by 100, only the biases change: by ∓100 w.
        let moved = logistic_regression(&[101.0, 99.0], &[0, 1], 2, l2).unwrap();
        assert_near(moved.weight[0], w, 1e-9);
        assert_near(moved.bias[0], -100.0 * w, 1e-7);
        assert_near(moved.bias[1], 100.0 * w, 1e-7);
    }

    #[test]
    fn vectors_without_information_leave_the_frequencies() {
        let fit = logistic_regression(&[3.0; 6], &[0, 0, 0, 1, 1, 2], 3, 0.1).unwrap();
        let probabilities = fit.probabilities(&[3.0]).unwrap();
        for (found, expected) in probabilities.iter().zip([3.0 / 6.0, 2.0 / 6.0, 1.0 / 6.0]) {
            assert_near(*found, expected, 1e-9);
        }
        assert!(fit.weight.iter().all(|weight| weight.abs() < 1e-12));
    }

    /// Vectors of three classes, of which the features differ in size by a factor of 10,000.
    fn uneven() -> (Vec<f64>, Vec<i64>) {
        let labels: Vec<i64> = (0..90).map(|index| index % 3).collect();
        let vector = |(index, label): (usize, &i64)| {
            let noise = |factor: f64| (index as f64 * factor).sin();
            [noise(1.3) + *label as f64, 100.0 * (noise(2.1) - *label as f64), 0.01 * noise(0.7), 5.0 + noise(3.9)]
        };
        (labels.iter().enumerate().flat_map(vector).collect(), labels)
    }

    #[test]
    fn the_minimum_is_normalised_and_its_gradient_vanishes() {
        let (vectors, labels) = uneven();
        for l2 in [1.0, 1e-2, 1e-5] {
            let fit = logistic_regression(&vectors, &labels, 3, l2).unwrap();
            for feature in 0..4 {
                assert_near((0..3).map(|class| fit.weight[class * 4 + feature]).sum(), 0.0, 1e-10);
            }
            assert_near(fit.bias.iter().sum(), 0.0, 1e-9);
            // The gradient with respect to a weight: mean (p − y) x + l2 W, computed from the result alone.
            let probabilities = fit.probabilities(&vectors).unwrap();
            for class in 0..3 {
                let error = |row: usize| probabilities[row * 3 + class] - f64::from(labels[row] == class as i64);
                assert_near((0..90).map(error).sum::<f64>() / 90.0, 0.0, 1e-8);
                for feature in 0..4 {
                    let mean = (0..90).map(|row| error(row) * vectors[row * 4 + feature]).sum::<f64>() / 90.0;
                    assert_near(mean + l2 * fit.weight[class * 4 + feature], 0.0, 1e-7);
                }
            }
        }
    }

    #[test]
    fn predictions_have_the_highest_logit() {
        let (vectors, labels) = uneven();
        let fit = logistic_regression(&vectors, &labels, 3, 1e-3).unwrap();
        let (logits, predictions) = (fit.logits(&vectors).unwrap(), fit.predictions(&vectors).unwrap());
        for (row, class) in logits.chunks(3).zip(&predictions) {
            assert!(row.iter().all(|logit| *logit <= row[*class as usize]));
        }
        assert!(predictions.iter().zip(&labels).filter(|(found, label)| found == label).count() > 60);
        assert!(fit.logits(&vectors[..5]).is_err());
    }

    #[test]
    fn settings_without_a_minimum_are_refused() {
        for l2 in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let found = logistic_regression(&[1.0, -1.0], &[0, 1], 2, l2);
            assert!(matches!(found, Err(ProbeError::Config { field: "l2", .. })), "{l2}");
        }
        let fit = |vectors: &[f64], labels: &[i64], classes| logistic_regression(vectors, labels, classes, 0.1);
        assert!(matches!(fit(&[1.0, 2.0], &[0, 0], 1), Err(ProbeError::Config { field: "classes", .. })));
        let one_class = fit(&[1.0, 2.0], &[0, 0], 2).unwrap_err().to_string();
        assert!(one_class.contains("without class 1"), "{one_class}");
        assert!(matches!(fit(&[1.0, 2.0], &[0, 2], 2), Err(ProbeError::Batch { what: "label", .. })));
        assert!(matches!(fit(&[1.0, 2.0, 3.0], &[0, 1], 2), Err(ProbeError::LabelCount { .. })));
        assert!(
            fit(&[1.0, f64::NAN], &[0, 1], 2).is_err() && fit(&[], &[], 2).is_err() && fit(&[], &[0, 1], 2).is_err()
        );
    }
}
