//! The kernels of `flex`, which are those of `f32`, against the portable bodies in `f64`, and those against differences.

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

use super::{L0Handoff, MaskBroadcast, Relaxation, masked, open_gates};
use crate::testing::normal;

const LOGISTIC: Relaxation = Relaxation::Logistic { temperature: 3.0 };
const CONCRETE: Relaxation =
    Relaxation::HardConcrete { temperature: 2.0 / 3.0, low: -0.1, span: 1.2, shift: -1.598_596_8 };
const RELAXATIONS: [Relaxation; 2] = [LOGISTIC, CONCRETE];
/// A mask on weights, one on a linear layer's neurons, one on a convolution's.
const BROADCASTS: [MaskBroadcast; 3] = [
    MaskBroadcast { outer: 1, repeat: 1, inner: 20_003 },
    MaskBroadcast { outer: 1, repeat: 70, inner: 37 },
    MaskBroadcast { outer: 5, repeat: 33, inner: 9 },
];

/// One mask with everything that it is made from, and the gradient that its effective parameter gets.
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

    /// A loss with the case's gradient, `[1]`.
    fn loss(&self, handoff: &L0Handoff) -> Tensor<1> {
        (self.masked(handoff) * self.gradient.clone()).sum()
    }

    fn of_logits(&self, gradients: &Gradients) -> Vec<f64> {
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
fn values_and_gradients_are_the_portable_ones() {
    each(|relaxation, broadcast| {
        let run = |dtype| {
            let (case, handoff) = (Case::new(relaxation, broadcast, dtype), L0Handoff::default());
            let (output, loss, gates) = (case.masked(&handoff), case.loss(&handoff), case.open_gates(&handoff));
            let gradients = (loss + gates.clone() * 0.3).backward();
            [values(output), values(gates), case.of_logits(&gradients)]
        };
        let (found, expected) = (run(DType::F32), run(DType::F64));
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(found, expected, 3e-6);
        }
    });
}

#[test]
fn portable_gradients_are_those_of_differences() {
    each(|relaxation, broadcast| {
        let (case, handoff, step) = (Case::new(relaxation, broadcast, DType::F64), L0Handoff::default(), 1e-6);
        let gradients = (case.loss(&handoff) + case.open_gates(&handoff) * 0.3).backward();
        let analytic = case.of_logits(&gradients);
        for at in [0, broadcast.mask_len() / 2, broadcast.mask_len() - 1] {
            let at_shift = |shift: f64| {
                let mut logits = values(case.logits.clone());
                logits[at] += shift;
                let data = TensorData::new(logits, [broadcast.mask_len()]);
                let device = Device::default().autodiff();
                let case = Case {
                    logits: Tensor::from_data(data, (&device, DType::F64)),
                    ..Case::new(relaxation, broadcast, DType::F64)
                };
                let handoff = L0Handoff::default();
                values(case.loss(&handoff) + case.open_gates(&handoff) * 0.3)[0]
            };
            let difference = (at_shift(step) - at_shift(-step)) / (2.0 * step);
            assert!((analytic[at] - difference).abs() < 1e-6, "{relaxation:?} {at}: {} {difference}", analytic[at]);
        }
    });
}

#[test]
fn a_parameter_that_is_trained_too_has_its_gradient() {
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
fn an_open_gate_has_one_gradient_whatever_else_is_in_the_loss() {
    each(|relaxation, broadcast| {
        let case = Case::new(relaxation, broadcast, DType::F32);
        let apart = |handoff: &L0Handoff| {
            let (loss, gates) = (case.loss(handoff), case.open_gates(handoff));
            let (of_loss, of_gates) = (loss.backward(), gates.backward());
            let (of_loss, of_gates) = (case.of_logits(&of_loss), case.of_logits(&of_gates));
            of_loss.into_iter().zip(of_gates).map(|(a, b)| a + b).collect::<Vec<_>>()
        };
        let handoff = L0Handoff::default();
        let expected = apart(&handoff);
        let close = |loss: Tensor<1>| assert_close(&case.of_logits(&loss.backward()), &expected, 2e-6);
        close(case.loss(&handoff) + case.open_gates(&handoff)); // a handoff that was used before
        close(case.open_gates(&handoff) + case.loss(&handoff)); // the term before the parameter
        close(case.loss(&handoff) + case.open_gates(&L0Handoff::default())); // another handoff
        close(case.loss(&handoff) + (case.open_gates(&handoff) + case.open_gates(&handoff)) * 0.5); // the term twice
        let halves = case.loss(&handoff) * 0.5 + case.loss(&handoff) * 0.5; // the parameter twice
        close(halves + case.open_gates(&handoff));
    });
}

#[test]
fn a_link_gives_nothing_to_another_step() {
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
fn copies_of_a_model_share_a_link_in_one_loss() {
    each(|relaxation, broadcast| {
        let (case, copy) = (Case::new(relaxation, broadcast, DType::F32), Case::new(relaxation, broadcast, DType::F32));
        let expected = {
            let handoff = L0Handoff::default();
            case.of_logits(&(case.loss(&handoff) + case.open_gates(&handoff)).backward())
        };
        let handoff = L0Handoff::default();
        let both = case.loss(&handoff) + copy.loss(&handoff) + case.open_gates(&handoff) + copy.open_gates(&handoff);
        let gradients = both.backward();
        assert_close(&case.of_logits(&gradients), &expected, 2e-6);
        assert_close(&copy.of_logits(&gradients), &expected, 2e-6);
    });
}

#[test]
fn a_sum_that_was_found_on_the_way_has_the_same_bits() {
    each(|relaxation, broadcast| {
        let (case, handoff) = (Case::new(relaxation, broadcast, DType::F32), L0Handoff::default());
        drop(case.masked(&handoff));
        assert_eq!(values(case.open_gates(&handoff)), values(case.open_gates(&L0Handoff::default())));
    });
}

#[test]
fn far_logits_and_what_is_not_a_number() {
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
    let slopes = case.of_logits(&case.loss(&L0Handoff::default()).backward());
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
                (sums, case.of_logits(&(loss + gates).backward()))
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
