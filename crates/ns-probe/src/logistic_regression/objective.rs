//! The objective of a logistic regression, with its gradient and the products with its Hessian.
//!
//! The unknowns are a matrix `[width + 1, classes]`: the transposed weights, and the biases as the last row.

use nalgebra::{DMatrix, DVector};

/// Mean cross entropy plus penalty, as a function of the unknowns.
pub(super) struct Objective {
    /// Vectors with a last column of ones, `[n, width + 1]`.
    vectors: DMatrix<f64>,
    labels: Vec<usize>,
    classes: usize,
    l2: f64,
}

/// The objective at some unknowns.
#[derive(Clone, Debug)]
pub(super) struct Evaluation {
    pub(super) value: f64,
    pub(super) cross_entropy: f64,
    /// `[width + 1, classes]`.
    pub(super) gradient: DMatrix<f64>,
    /// Probabilities, `[n, classes]`.
    probabilities: DMatrix<f64>,
}

impl Objective {
    /// `vectors` is `[n, width]`. Labels must be below `classes`.
    pub(super) fn new(vectors: DMatrix<f64>, labels: Vec<usize>, classes: usize, l2: f64) -> Self {
        let width = vectors.ncols();
        Self { vectors: vectors.insert_column(width, 1.0), labels, classes, l2 }
    }

    /// Unknowns that are all 0.
    pub(super) fn zeros(&self) -> DMatrix<f64> {
        DMatrix::zeros(self.vectors.ncols(), self.classes)
    }

    /// Weights `[classes, width]`.
    pub(super) fn weight(&self, parameters: &DMatrix<f64>) -> DMatrix<f64> {
        parameters.rows(0, parameters.nrows() - 1).transpose()
    }

    /// Biases `[classes]`.
    pub(super) fn bias(&self, parameters: &DMatrix<f64>) -> DVector<f64> {
        parameters.row(parameters.nrows() - 1).transpose()
    }

    pub(super) fn evaluate(&self, parameters: &DMatrix<f64>) -> Evaluation {
        let n = self.labels.len() as f64;
        let (probabilities, log_sums) = softmax_rows(&self.vectors * parameters);
        let cross_entropy: f64 =
            self.labels.iter().enumerate().map(|(row, label)| log_sums[(row, *label)]).sum::<f64>() / n;
        let mut errors = probabilities.clone();
        self.labels.iter().enumerate().for_each(|(row, label)| errors[(row, *label)] -= 1.0);
        let penalized = self.penalized(parameters);
        let gradient = self.vectors.tr_mul(&errors) / n + &penalized;
        Evaluation { value: cross_entropy + penalized.dot(parameters) / 2.0, cross_entropy, gradient, probabilities }
    }

    /// Product of the Hessian with a direction: `Xᵀ S / n + l2 · direction`, where row i of S is
    /// `p_i ⊙ (u_i − p_i · u_i)` with `u = X · direction`.
    pub(super) fn hessian_product(&self, at: &Evaluation, direction: &DMatrix<f64>) -> DMatrix<f64> {
        let mut change = &self.vectors * direction;
        for (mut change, probabilities) in change.row_iter_mut().zip(at.probabilities.row_iter()) {
            let mean = change.dot(&probabilities);
            change.zip_apply(&probabilities, |change, probability| *change = probability * (*change - mean));
        }
        self.vectors.tr_mul(&change) / self.labels.len() as f64 + self.penalized(direction)
    }

    /// Diagonal of the Hessian, `[width + 1, classes]`. Where it vanishes, it is a small positive number.
    pub(super) fn hessian_diagonal(&self, at: &Evaluation) -> DMatrix<f64> {
        let squares = self.vectors.map(|value| value * value);
        let variances = at.probabilities.map(|probability| probability * (1.0 - probability));
        let mut diagonal = squares.tr_mul(&variances) / self.labels.len() as f64;
        let weights = diagonal.nrows() - 1;
        diagonal.rows_mut(0, weights).add_scalar_mut(self.l2);
        diagonal.map(|value| value.max(1e-12))
    }

    /// `l2` times the weights, and 0 for the biases.
    fn penalized(&self, parameters: &DMatrix<f64>) -> DMatrix<f64> {
        let mut penalized = parameters * self.l2;
        penalized.row_mut(parameters.nrows() - 1).fill(0.0);
        penalized
    }
}

/// The softmax of each row of logits, and the negative logarithms of these probabilities, which are finite also for a
/// probability of 0.
pub(super) fn softmax_rows(mut logits: DMatrix<f64>) -> (DMatrix<f64>, DMatrix<f64>) {
    for mut row in logits.row_iter_mut() {
        let largest = row.max();
        let log_sum = largest + row.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
        row.apply(|logit| *logit = log_sum - *logit);
    }
    (logits.map(|negative_log| (-negative_log).exp()), logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_differences() {
        let vectors = DMatrix::from_fn(7, 3, |row, column| ((row * 3 + column * 5 + 1) as f64).sin());
        let objective = Objective::new(vectors, vec![0, 1, 2, 0, 1, 2, 2], 3, 0.3);
        let parameters = DMatrix::from_fn(4, 3, |row, column| ((row + 7 * column) as f64).cos());
        let direction = DMatrix::from_fn(4, 3, |row, column| ((5 * row + column) as f64).sin());
        let at = objective.evaluate(&parameters);
        let step = 1e-5;
        let [before, after] = [-step, step].map(|step| objective.evaluate(&(&parameters + &direction * step)));
        let slope = (after.value - before.value) / (2.0 * step);
        assert!((slope - at.gradient.dot(&direction)).abs() < 1e-8);
        let curvature = (after.gradient - before.gradient) / (2.0 * step);
        assert!((curvature - objective.hessian_product(&at, &direction)).amax() < 1e-8);
        let diagonal = objective.hessian_diagonal(&at);
        for index in 0..12 {
            let mut unit = objective.zeros();
            unit[index] = 1.0;
            assert!((objective.hessian_product(&at, &unit)[index] - diagonal[index]).abs() < 1e-12);
        }
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let (probabilities, negative_logs) = softmax_rows(DMatrix::from_row_slice(1, 2, &[2000.0, 0.0]));
        assert_eq!(probabilities.as_slice(), [1.0, 0.0]);
        assert_eq!(negative_logs.as_slice(), [0.0, 2000.0]);
    }
}
