//! Compares the `flex` kernels, which run for `f32`, with the portable kernels in `f64`, and the gradients of these
//! with finite differences.

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use proptest::prelude::*;

use super::{L0Handoff, MaskBroadcast, Relaxation, masked, open_gates, soft_mask};
use crate::testing::normal;

const LOGISTIC: Relaxation = Relaxation::Logistic { temperature: 3.0 };
const CONCRETE: Relaxation =
    Relaxation::HardConcrete { temperature: 2.0 / 3.0, low: -0.1, span: 1.2, shift: -1.598_596_8 };
const RELAXATIONS: [Relaxation; 2] = [LOGISTIC, CONCRETE];
/// A mask on single weights, a neuron mask of a linear layer, and a neuron mask of a convolution.
const BROADCASTS: [MaskBroadcast; 3] = [
    MaskBroadcast { outer: 1, repeat: 1, inner: 20_003 },
    MaskBroadcast { outer: 1, repeat: 70, inner: 37 },
    MaskBroadcast { outer: 5, repeat: 33, inner: 9 },
];

/// The inputs of one mask, and the gradient of its effective parameter.
struct Case {
    parameter: Tensor<3>,
    logits: Tensor<1>,
    noise: Tensor<1>,
    gradient: Tensor<3>,
    relaxation: Relaxation,
    broadcast: MaskBroadcast,
}

impl Case {
    fn new(relaxation: Relaxation, broadcast: MaskBroadcast, dtype: DType) -> Self {
        let MaskBroadcast { outer, repeat, inner } = broadcast;
        let shape = [outer, repeat, inner];
        Self {
            parameter: tensor(normal(outer * repeat * inner, 1), shape, dtype),
            logits: tensor(normal(outer * inner, 2), [outer * inner], dtype).require_grad(),
            noise: tensor(normal(outer * inner, 3), [outer * inner], dtype),
            gradient: tensor(normal(outer * repeat * inner, 4), shape, dtype),
            relaxation,
            broadcast,
        }
    }

    fn masked(&self, handoff: &L0Handoff) -> Tensor<3> {
        let noise = (self.relaxation == CONCRETE).then(|| self.noise.clone());
        masked(self.parameter.clone(), self.logits.clone(), noise, self.relaxation, self.broadcast, handoff)
    }

    fn open_gates(&self, handoff: &L0Handoff) -> Tensor<1> {
        open_gates(self.logits.clone(), self.relaxation, handoff)
    }

    /// A loss, `[1]`, whose gradient with respect to the effective parameter is `gradient`.
    fn loss(&self, handoff: &L0Handoff) -> Tensor<1> {
        (self.masked(handoff) * self.gradient.clone()).sum()
    }

    fn logits_gradient(&self, gradients: &Gradients) -> Vec<f64> {
        values(self.logits.grad(gradients).unwrap())
    }
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], dtype: DType) -> Tensor<D> {
    let device = Device::default().autodiff();
    match dtype {
        DType::F64 => {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            Tensor::from_data(TensorData::new(values, shape), (&device, dtype))
        }
        _ => Tensor::from_data(TensorData::new(values, shape), (&device, dtype)),
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter().collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "element {i} is {found}, expected {expected}");
    }
}

fn each(test: impl Fn(Relaxation, MaskBroadcast)) {
    for relaxation in RELAXATIONS {
        BROADCASTS.into_iter().for_each(|broadcast| test(relaxation, broadcast));
    }
}

#[test]
fn values_and_gradients_match_the_portable_kernels() {
    each(|relaxation, broadcast| {
        let run = |dtype| {
            let (case, handoff) = (Case::new(relaxation, broadcast, dtype), L0Handoff::default());
            let (output, loss, gates) = (case.masked(&handoff), case.loss(&handoff), case.open_gates(&handoff));
            let gradients = (loss + gates.clone() * 0.3).backward();
            [values(output), values(gates), case.logits_gradient(&gradients)]
        };
        let (found, expected) = (run(DType::F32), run(DType::F64));
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(found, expected, 3e-6);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_kernel_and_the_portable_soft_mask_agree(
        temperature in 0.05f32..50.0, scale in 0.1f32..10.0, concrete: bool, stream in 0u64..1000,
        outer in 1usize..4, repeat in 1usize..5, inner in 1usize..40,
    ) {
        let relaxation = if concrete { CONCRETE } else { Relaxation::Logistic { temperature } };
        let (n, broadcast) = (outer * inner, MaskBroadcast { outer, repeat, inner });
        let logits = normal(n, stream).into_iter().map(|logit| logit * scale).collect();
        let logits = tensor::<1>(logits, [n], DType::F32).require_grad();
        let noise = || concrete.then(|| tensor(normal(n, stream + 1000), [n], DType::F32));
        let ones = tensor(vec![1.0; n * repeat], [outer, repeat, inner], DType::F32);

        let kernel = masked(ones.clone(), logits.clone(), noise(), relaxation, broadcast, &L0Handoff::default());
        let portable = ones * soft_mask(logits.clone(), noise(), relaxation).reshape([outer, 1, inner]);
        assert_close(&values(kernel.clone()), &values(portable.clone()), 1e-6);

        let gradient = |masked: Tensor<3>| values(logits.grad(&masked.sum().backward()).unwrap());
        let tolerance = 1e-6 * f64::from(temperature.max(1.0)) * repeat as f64;
        assert_close(&gradient(kernel), &gradient(portable), tolerance);
    }
}

#[test]
fn portable_gradients_match_finite_differences() {
    each(|relaxation, broadcast| {
        let (case, handoff, step) = (Case::new(relaxation, broadcast, DType::F64), L0Handoff::default(), 1e-6);
        let gradients = (case.loss(&handoff) + case.open_gates(&handoff) * 0.3).backward();
        let analytic = case.logits_gradient(&gradients);
        for i in [0, broadcast.mask_len() / 2, broadcast.mask_len() - 1] {
            let shifted_loss = |shift: f64| {
                let mut logits = values(case.logits.clone());
                logits[i] += shift;
                let data = TensorData::new(logits, [broadcast.mask_len()]);
                let device = Device::default().autodiff();
                let case = Case {
                    logits: Tensor::from_data(data, (&device, DType::F64)),
                    ..Case::new(relaxation, broadcast, DType::F64)
                };
                let handoff = L0Handoff::default();
                values(case.loss(&handoff) + case.open_gates(&handoff) * 0.3)[0]
            };
            let difference = (shifted_loss(step) - shifted_loss(-step)) / (2.0 * step);
            assert!((analytic[i] - difference).abs() < 1e-6, "{relaxation:?} {i}: {} {difference}", analytic[i]);
        }
    });
}

#[test]
fn a_trainable_parameter_has_a_gradient() {
    each(|relaxation, broadcast| {
        let mut case = Case::new(relaxation, broadcast, DType::F32);
        case.parameter = case.parameter.require_grad();
        let handoff = L0Handoff::default();
        let mask = case.masked(&handoff).detach() / case.parameter.clone().detach();
        let expected = values(mask * case.gradient.clone());
        let gradients = (case.loss(&handoff) + case.open_gates(&handoff)).backward();
        assert_close(&values(case.parameter.grad(&gradients).unwrap()), &expected, 1e-5);
        assert!(case.logits.grad(&gradients).is_some());
    });
}

#[test]
fn the_gate_gradient_does_not_depend_on_how_the_loss_is_composed() {
    each(|relaxation, broadcast| {
        let case = Case::new(relaxation, broadcast, DType::F32);
        let separate_backward = |handoff: &L0Handoff| {
            let (loss, gates) = (case.loss(handoff), case.open_gates(handoff));
            let (from_loss, from_gates) = (loss.backward(), gates.backward());
            let (from_loss, from_gates) = (case.logits_gradient(&from_loss), case.logits_gradient(&from_gates));
            from_loss.into_iter().zip(from_gates).map(|(a, b)| a + b).collect::<Vec<_>>()
        };
        let handoff = L0Handoff::default();
        let expected = separate_backward(&handoff);
        let check = |loss: Tensor<1>| assert_close(&case.logits_gradient(&loss.backward()), &expected, 2e-6);
        check(case.loss(&handoff) + case.open_gates(&handoff)); // a handoff that was used before
        check(case.open_gates(&handoff) + case.loss(&handoff)); // the L0 term before the parameter
        check(case.loss(&handoff) + case.open_gates(&L0Handoff::default())); // separate handoffs
        check(case.loss(&handoff) + (case.open_gates(&handoff) + case.open_gates(&handoff)) * 0.5); // the L0 term twice
        let halves = case.loss(&handoff) * 0.5 + case.loss(&handoff) * 0.5; // the parameter twice
        check(halves + case.open_gates(&handoff));
    });
}

#[test]
fn a_handoff_ignores_other_logits_and_relaxations() {
    let (case, handoff) = (Case::new(LOGISTIC, BROADCASTS[0], DType::F32), L0Handoff::default());
    let other = Case {
        relaxation: Relaxation::Logistic { temperature: 0.5 },
        ..Case::new(LOGISTIC, BROADCASTS[0], DType::F32)
    };
    let alone = |case: &Case| values(case.open_gates(&L0Handoff::default()));
    drop(case.masked(&handoff));
    assert_eq!(values(other.open_gates(&handoff)), alone(&other));
    let same_leaf = Case { relaxation: other.relaxation, logits: case.logits.clone(), ..other };
    drop(case.masked(&handoff));
    assert_eq!(values(same_leaf.open_gates(&handoff)), alone(&same_leaf));
}

#[test]
fn copies_of_a_model_share_a_handoff_in_one_loss() {
    each(|relaxation, broadcast| {
        let (case, copy) = (Case::new(relaxation, broadcast, DType::F32), Case::new(relaxation, broadcast, DType::F32));
        let expected = {
            let handoff = L0Handoff::default();
            case.logits_gradient(&(case.loss(&handoff) + case.open_gates(&handoff)).backward())
        };
        let handoff = L0Handoff::default();
        let both = case.loss(&handoff) + copy.loss(&handoff) + case.open_gates(&handoff) + copy.open_gates(&handoff);
        let gradients = both.backward();
        assert_close(&case.logits_gradient(&gradients), &expected, 2e-6);
        assert_close(&copy.logits_gradient(&gradients), &expected, 2e-6);
    });
}

#[test]
fn a_sum_from_the_handoff_has_the_same_bits() {
    each(|relaxation, broadcast| {
        let (case, handoff) = (Case::new(relaxation, broadcast, DType::F32), L0Handoff::default());
        drop(case.masked(&handoff));
        assert_eq!(values(case.open_gates(&handoff)), values(case.open_gates(&L0Handoff::default())));
    });
}

#[test]
fn extreme_and_nan_logits() {
    let logits = vec![-1e30, -200.0, -20.0, 0.0, 20.0, 200.0, 1e30, f32::NAN];
    let broadcast = MaskBroadcast { outer: 1, repeat: 1, inner: 8 };
    let case = Case {
        parameter: tensor(vec![1.0; 8], [1, 1, 8], DType::F32),
        logits: tensor(logits, [8], DType::F32).require_grad(),
        ..Case::new(LOGISTIC, broadcast, DType::F32)
    };
    let found = values(case.masked(&L0Handoff::default()));
    assert_eq!(found[..2], [0.0, 0.0]);
    assert!(found[2] > 0.0 && found[2] < 1e-20 && found[3] == 0.5 && found[4] == 1.0);
    assert_eq!(found[5..7], [1.0, 1.0]);
    assert!(found[7].is_nan());
    let slopes = case.logits_gradient(&case.loss(&L0Handoff::default()).backward());
    assert!(slopes[..7].iter().all(|slope| slope.is_finite()), "{slopes:?}");
}

#[test]
fn bits_do_not_depend_on_threads() {
    each(|relaxation, broadcast| {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (case, handoff) = (Case::new(relaxation, broadcast, DType::F32), L0Handoff::default());
                let (loss, gates) = (case.loss(&handoff), case.open_gates(&handoff));
                let sums = (values(loss.clone()), values(gates.clone()));
                (sums, case.logits_gradient(&(loss + gates).backward()))
            })
        };
        assert_eq!(run(1), run(3));
    });
}

#[test]
fn views_are_read_in_their_own_order() {
    let broadcast = MaskBroadcast { outer: 1, repeat: 1, inner: 12 };
    let case = Case::new(LOGISTIC, broadcast, DType::F32);
    let parameter = tensor(normal(12, 1), [1, 3, 4], DType::F32);
    let view = Case { parameter: parameter.clone().swap_dims(1, 2), ..Case::new(LOGISTIC, broadcast, DType::F32) };
    let copy = Case { parameter: parameter.swap_dims(1, 2).mul_scalar(1.0), ..case };
    assert_eq!(values(view.masked(&L0Handoff::default())), values(copy.masked(&L0Handoff::default())));
    assert_eq!(view.masked(&L0Handoff::default()).dims(), [1, 4, 3]);
}
