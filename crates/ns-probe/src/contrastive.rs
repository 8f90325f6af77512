//! The contrastive loss of circuit probes (Lepori et al. 2024, section 3).

use burn::tensor::{Tensor, TensorData};

use crate::error::ProbeError;

/// ε, which keeps both sums positive.
const EPSILON: f64 = 1e-5;

/// Computes the loss of a circuit probe, which is small if vectors with the same label have the same direction.
///
/// `−(1/n) Σ_i ln((ε + Σ_{j≠i, y_j=y_i} e^{−d_ij}) / (ε + Σ_{j≠i} e^{−d_ij}))` with `d_ij = 1 − cos(v_i, h_j)`
///
/// `v` is `vectors`, `h` is `others` and `y` is `labels`. For the contrastive loss `others` equals `vectors`; for the
/// linear loss it holds the vectors of the unmasked model. A vector whose label occurs only once also contributes a
/// term (as in the code of the Python package, not as in its comment). A zero vector has cosine 0 with every vector.
///
/// # Shapes
/// - vectors, others: `[n, hidden]`
/// - labels: `[n]`
/// - output: `[1]`
///
/// # Errors
/// Returns [`ProbeError::LabelCount`] unless there are `n` labels, and [`ProbeError::Batch`] if `n` is 0.
pub fn contrastive_loss(vectors: Tensor<2>, others: Tensor<2>, labels: &[i64]) -> Result<Tensor<1>, ProbeError> {
    let [n, _] = vectors.dims();
    if labels.len() != n {
        return Err(ProbeError::LabelCount { tokens: n, labels: labels.len() });
    }
    if n == 0 {
        return Err(ProbeError::Batch {
            what: "token_mask",
            found: "false for every token".into(),
            expected: "the loss needs at least one selected token".into(),
        });
    }
    let device = vectors.device();
    let cosine = normalize(vectors).matmul(normalize(others).transpose());
    let affinity = (cosine - 1.0).exp();
    let sum_over = |pairs: Vec<f32>| {
        let pairs = Tensor::<2>::from_data(TensorData::new(pairs, [n, n]), &device);
        (affinity.clone() * pairs).sum_dim(1) + EPSILON
    };
    let same = sum_over(pairs_with_the_same_label(labels));
    let all = sum_over(pairs_with_the_same_label(&vec![0; n]));
    Ok((all.log() - same.log()).mean())
}

/// Matrix with 1 where row and column have the same label and 0 elsewhere and on the diagonal; `n · n` entries,
/// row-major.
fn pairs_with_the_same_label(labels: &[i64]) -> Vec<f32> {
    let n = labels.len();
    let mut pairs = Vec::with_capacity(n * n);
    for label in labels {
        pairs.extend(labels.iter().map(|other| f32::from(other == label)));
    }
    pairs.iter_mut().step_by(n + 1).for_each(|diagonal| *diagonal = 0.0);
    pairs
}

/// Scales each row to length 1. A zero row stays zero and has zero gradient. So does a row whose magnitudes sum to less
/// than 2⁻¹²⁰, because the inverse of its length can exceed the range of f32.
///
/// # Shapes
/// - rows and output: `[n, hidden]`
pub(crate) fn normalize(rows: Tensor<2>) -> Tensor<2> {
    let magnitude = rows.clone().detach().abs().sum_dim(1);
    let is_zero = magnitude.clone().lower_elem(2_f32.powi(-120));
    // The squares of very short and very long rows are outside the range of f32. A constant factor brings such rows
    // into it. It is a power of two, and 1 for all other rows, so it changes no bit.
    let scale = Tensor::ones_like(&magnitude)
        .mask_fill(magnitude.clone().greater_elem(2_f32.powi(40)), 2_f32.powi(-80))
        .mask_fill(magnitude.lower_elem(2_f32.powi(-40)), 2_f32.powi(80))
        .mask_fill(is_zero.clone(), 0.0);
    // The factors of a square are two tensors, which keeps the order in which Burn sums the gradients of `rows`.
    let scaled = || rows.clone() * scale.clone();
    let squared_norm = (scaled() * scaled()).sum_dim(1) + is_zero.float();
    let inverse_norm = squared_norm.sqrt().recip() * scale;
    rows * inverse_norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Int};

    fn loss(vectors: &[[f32; 2]], labels: &[i64]) -> f64 {
        let data = TensorData::new(vectors.concat(), [vectors.len(), 2]);
        let vectors = Tensor::from_data(data, &Device::default());
        contrastive_loss(vectors.clone(), vectors, labels).unwrap().into_scalar()
    }

    #[test]
    fn by_hand() {
        // Two orthogonal pairs: within a pair cos = 1, across 0.
        let orthogonal = [[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 1.0]];
        let across = 2.0 * (-1.0_f64).exp();
        let expected = ((1.0 + across + EPSILON) / (1.0 + EPSILON)).ln();
        assert!((loss(&orthogonal, &[0, 0, 1, 1]) - expected).abs() < 1e-6);
        // Labels across the pairs: numerator e^{-1}.
        let expected = ((1.0 + across + EPSILON) / ((-1.0_f64).exp() + EPSILON)).ln();
        assert!((loss(&orthogonal, &[0, 1, 0, 1]) - expected).abs() < 1e-6);
    }

    #[test]
    fn a_zero_vector_is_finite_forwards_and_backwards() {
        let device = Device::default().autodiff();
        let vectors = Tensor::<2>::from_floats([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]], &device).require_grad();
        let loss = contrastive_loss(vectors.clone(), vectors.clone(), &[0, 0, 1]).unwrap();
        assert!(loss.clone().into_scalar::<f64>().is_finite());
        let gradient = vectors.grad(&loss.backward()).unwrap().into_data();
        assert!(gradient.iter::<f32>().all(f32::is_finite));
    }

    #[test]
    fn the_size_of_a_row_changes_neither_the_loss_nor_the_direction_of_its_gradient() {
        let device = Device::default().autodiff();
        let rows = [[1.0, 2.0, -0.5], [0.5, -1.0, 4.0], [-3.0, 0.25, 1.0], [1.5, 1.0, 1.0]];
        let of_size = |exponents: [i32; 4]| {
            let sizes = Tensor::<1>::from_floats(exponents.map(|exponent| 2_f32.powi(exponent)), &device);
            let vectors = (Tensor::<2>::from_floats(rows, &device) * sizes.reshape([4, 1])).require_grad();
            let loss = contrastive_loss(vectors.clone(), vectors.clone(), &[0, 0, 1, 1]).unwrap();
            let gradient = vectors.grad(&loss.clone().backward()).unwrap().into_data();
            (loss.into_scalar::<f32>(), gradient.iter::<f32>().collect::<Vec<_>>())
        };
        let (loss, gradient) = of_size([0; 4]);
        let equal = [40, 60, 100, -35, -41, -70, -100, -119].map(|exponent| [exponent; 4]);
        for exponents in equal.into_iter().chain([[-70, 0, 60, -100], [-90, -90, 30, 1]]) {
            let (of_scaled, gradient_of_scaled) = of_size(exponents);
            assert_eq!(of_scaled, loss, "{exponents:?}");
            let sizes = exponents.into_iter().flat_map(|exponent| [2_f32.powi(exponent); 3]);
            for ((found, size), expected) in gradient_of_scaled.into_iter().zip(sizes).zip(&gradient) {
                assert!((found * size - expected).abs() <= 1e-6, "{exponents:?}: {found} · {size}, {expected}");
            }
        }
        let (of_subnormal, gradient) = of_size([-140, 0, 0, 0]);
        assert!(of_subnormal.is_finite() && gradient.iter().all(|value| value.is_finite()), "{gradient:?}");
        assert_eq!(gradient[..3], [0.0; 3]);
    }

    #[test]
    fn rows_of_usual_size_keep_their_bits() {
        let unscaled = |rows: Tensor<2>| {
            let squared_norm = rows.clone().square().sum_dim(1);
            rows * (squared_norm + 0.0).sqrt().recip()
        };
        let device = Device::default().autodiff();
        let values = Tensor::<1, Int>::arange(0..1000, &device).float();
        let rows = ((values * 0.37).sin() * 3.0).reshape([20, 50]);
        let with = |normalize: &dyn Fn(Tensor<2>) -> Tensor<2>| {
            let rows = rows.clone().require_grad();
            let cosine = normalize(rows.clone()).matmul(normalize(rows.clone()).transpose());
            let gradient = rows.grad(&cosine.clone().exp().sum().backward()).unwrap();
            (cosine.into_data(), gradient.into_data())
        };
        assert_eq!(with(&normalize), with(&unscaled));
    }

    #[test]
    fn counts_must_agree() {
        let vectors = Tensor::<2>::ones([2, 2], &Device::default());
        let error = contrastive_loss(vectors.clone(), vectors, &[1]).unwrap_err();
        assert!(error.to_string().contains("2 vectors, but 1 labels"));
    }
}
