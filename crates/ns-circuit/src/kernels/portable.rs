//! The kernels in Burn's own operations, for backends and dtypes without specialised kernels.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Shape;

use super::{AdamWStep, MaskBroadcast, Relaxation};

/// The soft mask of the logits.
pub(super) fn soft_mask<B: Backend>(
    logits: FloatTensor<B>,
    noise: FloatTensor<B>,
    relaxation: Relaxation,
) -> FloatTensor<B> {
    mask::<B>(noisy_gate::<B>(logits, noise, relaxation), relaxation)
}

pub(super) fn masked_and_counted<B: Backend>(
    parameter: FloatTensor<B>,
    logits: FloatTensor<B>,
    noise: FloatTensor<B>,
    relaxation: Relaxation,
    broadcast: MaskBroadcast,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let shape = parameter.shape();
    let gate = noisy_gate::<B>(logits.clone(), noise, relaxation);
    let sum = match relaxation {
        Relaxation::Logistic { .. } => B::float_sum(gate.clone()),
        Relaxation::HardConcrete { .. } => B::float_sum(open_gate::<B>(logits, relaxation)),
    };
    let mask = B::float_reshape(mask::<B>(gate, relaxation), Shape::new([broadcast.outer, 1, broadcast.inner]));
    let parameter = B::float_reshape(parameter, Shape::new([broadcast.outer, broadcast.repeat, broadcast.inner]));
    (B::float_reshape(B::float_mul(parameter, mask), shape), sum)
}

pub(super) fn masked_backward<B: Backend>(
    parameter: FloatTensor<B>,
    logits: FloatTensor<B>,
    noise: FloatTensor<B>,
    gradient: FloatTensor<B>,
    gates_gradient: FloatTensor<B>,
    relaxation: Relaxation,
    broadcast: MaskBroadcast,
) -> FloatTensor<B> {
    let blocks = Shape::new([broadcast.outer, broadcast.repeat, broadcast.inner]);
    let mask_gradient = B::float_sum_dim(B::float_reshape(B::float_mul(gradient, parameter), blocks), 1);
    let mask_gradient = B::float_reshape(mask_gradient, Shape::new([broadcast.mask_len()]));
    let slope = slope::<B>(noisy_gate::<B>(logits.clone(), noise, relaxation), relaxation);
    let logits_gradient = B::float_mul(mask_gradient, slope);
    match gates_gradient.shape().num_elements() {
        0 => logits_gradient,
        _ => B::float_add(logits_gradient, open_gates_backward::<B>(logits, gates_gradient, relaxation)),
    }
}

pub(super) fn open_gates<B: Backend>(logits: FloatTensor<B>, relaxation: Relaxation) -> FloatTensor<B> {
    B::float_sum(open_gate::<B>(logits, relaxation))
}

pub(super) fn open_gates_backward<B: Backend>(
    logits: FloatTensor<B>,
    gradient: FloatTensor<B>,
    relaxation: Relaxation,
) -> FloatTensor<B> {
    let scale = match relaxation {
        Relaxation::Logistic { temperature } => temperature,
        Relaxation::HardConcrete { .. } => 1.0,
    };
    let slope = B::float_mul_scalar(logistic_slope::<B>(open_gate::<B>(logits, relaxation)), scale.into());
    B::float_mul(slope, gradient)
}

pub(super) fn adamw<B: Backend>(
    parameter: FloatTensor<B>,
    gradient: FloatTensor<B>,
    first: FloatTensor<B>,
    second: FloatTensor<B>,
    step: AdamWStep,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let [beta_1, beta_2] = step.betas;
    let square = B::float_mul(gradient.clone(), gradient.clone());
    let first = moment::<B>(first, gradient, beta_1);
    let second = moment::<B>(second, square, beta_2);
    let [direction, spread] = [(&first, step.corrections[0]), (&second, step.corrections[1])]
        .map(|(moment, correction)| B::float_div_scalar(moment.clone(), correction.into()));
    let delta = B::float_div(direction, B::float_add_scalar(B::float_sqrt(spread), step.epsilon.into()));
    let kept = B::float_mul_scalar(parameter, step.kept.into());
    (B::float_sub(kept, B::float_mul_scalar(delta, step.learning_rate.into())), first, second)
}

/// `β · moment + (1 − β) · value`.
fn moment<B: Backend>(moment: FloatTensor<B>, value: FloatTensor<B>, beta: f32) -> FloatTensor<B> {
    let value = B::float_mul_scalar(value, (1.0 - beta).into());
    B::float_add(B::float_mul_scalar(moment, beta.into()), value)
}

/// The logistic function inside the mask formula.
fn noisy_gate<B: Backend>(logits: FloatTensor<B>, noise: FloatTensor<B>, relaxation: Relaxation) -> FloatTensor<B> {
    match relaxation {
        Relaxation::Logistic { .. } => open_gate::<B>(logits, relaxation),
        Relaxation::HardConcrete { temperature, .. } => {
            B::sigmoid(B::float_div_scalar(B::float_add(logits, noise), temperature.into()))
        }
    }
}

/// The gate that L0 counts.
fn open_gate<B: Backend>(logits: FloatTensor<B>, relaxation: Relaxation) -> FloatTensor<B> {
    match relaxation {
        Relaxation::Logistic { temperature } => B::sigmoid(B::float_mul_scalar(logits, temperature.into())),
        Relaxation::HardConcrete { shift, .. } => B::sigmoid(B::float_sub_scalar(logits, shift.into())),
    }
}

/// The soft mask, computed from its [`noisy_gate`].
fn mask<B: Backend>(gate: FloatTensor<B>, relaxation: Relaxation) -> FloatTensor<B> {
    match relaxation {
        Relaxation::Logistic { .. } => gate,
        Relaxation::HardConcrete { low, span, .. } => {
            B::float_clamp(stretched::<B>(gate, low, span), 0.0.into(), 1.0.into())
        }
    }
}

/// The derivative of the soft mask with respect to the logits, computed from its [`noisy_gate`].
fn slope<B: Backend>(gate: FloatTensor<B>, relaxation: Relaxation) -> FloatTensor<B> {
    match relaxation {
        Relaxation::Logistic { temperature } => B::float_mul_scalar(logistic_slope::<B>(gate), temperature.into()),
        Relaxation::HardConcrete { temperature, low, span, .. } => {
            let stretched = stretched::<B>(gate.clone(), low, span);
            let clamped = B::float_clamp(stretched.clone(), 0.0.into(), 1.0.into());
            // −1 or 1 where the clamp is active, 0 elsewhere
            let sign = B::float_sign(B::float_sub(stretched, clamped));
            let unclamped = B::float_add_scalar(B::float_neg(B::float_mul(sign.clone(), sign)), 1.0.into());
            let slope = B::float_mul_scalar(logistic_slope::<B>(gate), (span / temperature).into());
            B::float_mul(slope, unclamped)
        }
    }
}

fn stretched<B: Backend>(gate: FloatTensor<B>, low: f32, span: f32) -> FloatTensor<B> {
    B::float_add_scalar(B::float_mul_scalar(gate, span.into()), low.into())
}

/// The derivative `σ (1 − σ)` of the logistic function, with `gate` = `σ`.
fn logistic_slope<B: Backend>(gate: FloatTensor<B>) -> FloatTensor<B> {
    let closed = B::float_add_scalar(B::float_neg(gate.clone()), 1.0.into());
    B::float_mul(gate, closed)
}
