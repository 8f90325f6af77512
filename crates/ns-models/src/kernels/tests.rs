//! Compares the `f32` kernels of `flex` with the portable kernels in `f64`.

use burn::tensor::{DType, Device, Shape, Tensor, TensorData, Tolerance, activation::softmax};

use super::{Gate, biased_softmax, gated};

const GATES: [Gate; 4] = [Gate::Erf, Gate::Tanh, Gate::Logistic(1.702), Gate::Logistic(1.0)];

/// A dense grid of points in `[-14, 14]` and some extreme values. Their number is not a multiple of the lanes or tasks.
fn points() -> Vec<f32> {
    let grid = (-14_000..=14_000).map(|i| i as f32 * 1e-3);
    grid.chain([-0.0, 1e-40, -1e-40, 1e-6, -1e-6, 20.0, -20.0, 100.0, -100.0, 1e30, -1e30, f32::MAX]).collect()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::default())
}

fn tensor_f64<const D: usize>(values: impl IntoIterator<Item = f64>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.into_iter().collect::<Vec<_>>(), shape), (device, DType::F64))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter().collect()
}

/// `x Φ(x)` and its derivative.
fn gated_with_gradient<const D: usize>(x: Tensor<D>, gate: Gate) -> (Vec<f64>, Vec<f64>) {
    let x = x.require_grad();
    let y = gated(x.clone(), gate);
    let gradients = y.clone().sum().backward();
    (values(y.inner()), values(x.grad(&gradients).unwrap()))
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "{what}: element {i} is {found}, expected {expected}");
    }
}

mod activations {
    use super::*;

    #[test]
    fn values_and_derivatives_over_the_whole_range() {
        let (points, device) = (points(), Device::default().autodiff());
        let n = points.len();
        for gate in GATES {
            let (y, dy) = gated_with_gradient(tensor(&points, [n]).autodiff(), gate);
            let exact = tensor_f64(points.iter().map(|x| f64::from(*x)), [n], &device);
            let (expected, slope) = gated_with_gradient(exact, gate);
            assert_close(&y, &expected, 5e-7, &format!("{gate:?}"));
            assert_close(&dy, &slope, 5e-7, &format!("derivative of {gate:?}"));
        }
    }

    #[test]
    fn portable_derivatives_equal_finite_differences() {
        let (device, step) = (Device::default().autodiff(), 1e-6);
        let points: Vec<f64> = (-60..=60).map(|i| f64::from(i) * 0.1).collect();
        let at = |shift: f64, gate| {
            let x = tensor_f64(points.iter().map(|x| x + shift), [points.len()], &device);
            values(gated(x, gate))
        };
        for gate in GATES {
            let (_, slope) = gated_with_gradient(tensor_f64(points.clone(), [points.len()], &device), gate);
            let (up, down) = (at(step, gate), at(-step, gate));
            let differences: Vec<f64> = up.iter().zip(down).map(|(up, down)| (up - down) / (2.0 * step)).collect();
            assert_close(&slope, &differences, 1e-8, &format!("{gate:?}"));
        }
    }

    #[test]
    fn small_values_keep_their_relative_precision() {
        for gate in GATES {
            let y = values(gated(tensor(&[-3.0, -1e-3, 1e-3, 1e-20], [4]), gate));
            let expected = values(gated(tensor_f64([-3.0, -1e-3, 1e-3, 1e-20], [4], &Device::default()), gate));
            for (y, expected) in y.iter().zip(expected) {
                assert!((y / expected - 1.0).abs() < 3e-6, "{gate:?}: {y}, expected {expected}");
            }
        }
    }

    #[test]
    fn limits_and_nan() {
        for gate in GATES {
            let y = values(gated(tensor(&[f32::INFINITY, f32::NEG_INFINITY, f32::MIN, f32::NAN], [4]), gate));
            assert_eq!(y[..3], [f64::INFINITY, 0.0, 0.0], "{gate:?}");
            assert!(y[3].is_nan(), "{gate:?}");
        }
    }

    #[test]
    fn layouts_and_ranks() {
        let points = &points()[..6 * 5 * 7 * 3];
        let flat = values(gated(tensor(points, [630]), Gate::Erf));
        let shaped = tensor(points, [6, 5, 7, 3]);
        assert_eq!(values(gated(shaped.clone(), Gate::Erf)), flat);
        let transposed = gated(shaped.clone().swap_dims(1, 3), Gate::Erf).swap_dims(1, 3);
        assert_eq!(values(transposed), flat);
        let part = gated(shaped.clone().narrow(0, 2, 3), Gate::Erf);
        assert_eq!(values(part), flat[2 * 105..5 * 105]);
        assert_eq!(values(shaped)[..], points.iter().map(|x| f64::from(*x)).collect::<Vec<_>>()[..], "input modified");
        assert_eq!(gated(Tensor::<2>::zeros([0, 3], &Device::default()), Gate::Tanh).dims(), [0, 3]);
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let points = points();
                let scores = tensor(&points[..28_000], [1, 4, 100, 70]);
                let bias = Tensor::zeros([1, 1, 1, 70], &Device::default());
                let y = gated(tensor(&points, [points.len()]), Gate::Erf);
                (values(y), values(biased_softmax(scores, bias, 0.3)))
            })
        };
        assert_eq!(run(1), run(3));
    }
}

mod attention {
    use super::*;

    const DIMS: [usize; 4] = [2, 3, 5, 37];

    fn spread<const D: usize>(shape: [usize; D], by: f32) -> Tensor<D> {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.618_034).fract() * by - by / 2.0).collect();
        tensor(&values, shape)
    }

    fn composed(scores: Tensor<4>, bias: Tensor<4>, scale: f64) -> Tensor<4> {
        softmax(scores * scale + bias, 3)
    }

    #[test]
    fn equals_its_parts_for_every_broadcast_of_the_bias() {
        for shape in [[2, 3, 5, 37], [1, 1, 5, 37], [2, 1, 1, 37], [1, 3, 5, 1], [1, 1, 1, 1]] {
            let (scores, bias) = (spread(DIMS, 30.0), spread(shape, 8.0));
            let expected = composed(scores.clone(), bias.clone(), 0.7).into_data();
            let tolerance = Tolerance::absolute(1e-7).set_relative(2e-6);
            let kept = scores.clone();
            biased_softmax(scores.clone(), bias.clone(), 0.7).into_data().assert_approx_eq::<f32>(&expected, tolerance);
            let transposed = scores.swap_dims(2, 3).mul_scalar(1.0).swap_dims(2, 3);
            biased_softmax(transposed, bias, 0.7).into_data().assert_approx_eq::<f32>(&expected, tolerance);
            kept.into_data().assert_eq(&spread(DIMS, 30.0).into_data(), true);
        }
    }

    #[test]
    fn rows_of_any_length_sum_to_one() {
        for keys in [1, 2, 15, 16, 17, 197] {
            let p =
                biased_softmax(spread([1, 2, 3, keys], 50.0), Tensor::zeros([1, 1, 1, keys], &Device::default()), 1.0);
            for sum in values(p.sum_dim(3)) {
                assert!((sum - 1.0).abs() < 1e-6, "{keys} keys: {sum}");
            }
        }
        let empty = Tensor::<4>::zeros([1, 2, 0, 4], &Device::default());
        assert_eq!(biased_softmax(empty, Tensor::zeros([1, 1, 1, 4], &Device::default()), 1.0).dims(), [1, 2, 0, 4]);
    }

    #[test]
    fn masked_keys_have_probability_zero_and_a_fully_masked_query_is_uniform() {
        let (visible, masked, masked_twice) = (0.0, f32::MIN, f32::NEG_INFINITY);
        let scores = tensor(&[3.0, -2.0, 3.0, 1e4, 3.0, -2.0, 3.0, 1e4], [1, 1, 2, 4]);
        let bias = [visible, masked, visible, masked_twice, masked, masked, masked, masked];
        let bias = tensor(&bias, [1, 1, 2, 4]);
        let p = values(biased_softmax(scores, bias, 1.0));
        assert_eq!(p, [0.5, 0.0, 0.5, 0.0, 0.25, 0.25, 0.25, 0.25]);
    }

    #[test]
    fn gradients_are_those_of_its_parts() {
        for shape in [[2, 3, 5, 37], [1, 1, 5, 37], [2, 1, 1, 37], [1, 3, 1, 1]] {
            let gradients = |attend: fn(Tensor<4>, Tensor<4>, f64) -> Tensor<4>| {
                let scores = spread(DIMS, 6.0).autodiff().require_grad();
                let bias = spread(shape, 3.0).autodiff().require_grad();
                let loss = attend(scores.clone(), bias.clone(), 0.7) * spread(DIMS, 2.0).autodiff().powi_scalar(3);
                let gradients = loss.sum().backward();
                [scores.grad(&gradients).unwrap(), bias.grad(&gradients).unwrap()].map(|tensor| tensor.into_data())
            };
            let [scores, bias] = gradients(biased_softmax);
            let [expected_scores, expected_bias] = gradients(composed);
            scores.assert_approx_eq::<f32>(&expected_scores, Tolerance::absolute(1e-7).set_relative(1e-5));
            bias.assert_approx_eq::<f32>(&expected_bias, Tolerance::absolute(1e-6).set_relative(1e-5));
            assert_eq!(*bias.shape(), Shape::new(shape));
        }
    }

    #[test]
    fn other_dtypes_use_the_portable_kernels() {
        let scores = tensor_f64([1.0, 2.0], [1, 1, 1, 2], &Device::default());
        let p = biased_softmax(scores, tensor_f64([0.0, 0.0], [1, 1, 1, 2], &Device::default()), 2.0);
        assert_eq!(p.dtype(), DType::F64);
        let expected = 1.0 / (1.0 + (-2.0_f64).exp());
        assert!((values(p)[1] - expected).abs() < 1e-15);
    }
}
