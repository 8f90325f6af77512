//! Derivatives of the kernels, of first order.
//!
//! The L0 term's gradient is a number times a function of the logits, and the effective parameter's backward pass reads
//! the logits anyway. So the L0 term leaves its number in the [`L0Handoff`] for it. Steps run backward from the deepest, and
//! identities put them in order:
//!
//! ```text
//! depth   0        1            2          3
//!         logits → Passed     → Masked            effective parameter
//!         logits → Remainder  → Silent   → Counted    sum of the open gates
//! ```
//!
//! `Counted` leaves the number, `Masked` takes it, and `Remainder` hands in what nobody took: because the effective
//! parameter is no part of this loss, or is deeper than the L0 term as its base is no leaf.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{Autodiff, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Shape;

use super::l0_handoff::{Key, L0Handoff};
use super::{MaskBroadcast, MaskKernels, Relaxation};

/// An identity.
#[derive(Debug)]
struct Passed;

impl<B: MaskKernels> Backward<B, 1> for Passed {
    type State = ();

    fn backward(self, ops: Ops<(), 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| gradient);
    }
}

/// The effective parameter. Keeps parameter, logits and noise.
#[derive(Debug)]
struct Masked;

/// What [`Masked`] keeps.
#[derive(Debug, Clone)]
struct MaskedState<B: MaskKernels> {
    parameter: FloatTensor<B>,
    logits: FloatTensor<B>,
    noise: FloatTensor<B>,
    key: Key,
    broadcast: MaskBroadcast,
    handoff: L0Handoff,
}

impl<B: MaskKernels> Backward<B, 2> for Masked {
    type State = MaskedState<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [of_parameter, of_logits] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        let MaskedState { parameter, logits, noise, key, broadcast, handoff } = ops.state;
        if let Some(node) = of_parameter {
            let (logits, noise) = (logits.clone(), noise.clone());
            let gradient = B::masked(gradient.clone(), logits, noise, key.relaxation, broadcast, handoff.clone());
            grads.register::<B>(node.id, gradient);
        }
        if let Some(node) = of_logits {
            let of_gates = handoff.take_gradient::<B>(key).unwrap_or_else(|| none_like::<B>(&logits));
            let gradient = B::masked_backward(parameter, logits, noise, gradient, of_gates, key.relaxation, broadcast);
            grads.register::<B>(node.id, gradient);
        }
    }
}

/// Hands in the gradient that [`Counted`] left, unless [`Masked`] did. Keeps the logits.
#[derive(Debug)]
struct Remainder;

impl<B: MaskKernels> Backward<B, 1> for Remainder {
    type State = (FloatTensor<B>, Key, L0Handoff);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let ([node], (logits, key, handoff)) = (ops.parents, ops.state);
        if let (Some(node), Some(gradient)) = (node, handoff.take_gradient::<B>(key)) {
            grads.register::<B>(node.id, B::open_gates_backward(logits, gradient, key.relaxation));
        }
    }
}

/// An identity without a gradient, which [`Remainder`] sees to.
#[derive(Debug)]
struct Silent;

impl<B: MaskKernels> Backward<B, 1> for Silent {
    type State = ();

    fn backward(self, _ops: Ops<(), 1>, _grads: &mut Gradients, _checkpointer: &mut Checkpointer) {}
}

/// The sum of the open gates.
#[derive(Debug)]
struct Counted;

impl<B: MaskKernels> Backward<B, 1> for Counted {
    type State = (Key, L0Handoff);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (key, handoff) = ops.state;
        let mut gradient = grads.consume::<B>(&ops.node);
        if let Some(other) = handoff.take_gradient::<B>(key) {
            gradient = B::float_add(gradient, other);
        }
        handoff.store_gradient::<B>(key, gradient);
    }
}

impl<B: MaskKernels, C: CheckpointStrategy> MaskKernels for Autodiff<B, C> {
    fn masked(
        parameter: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        relaxation: Relaxation,
        broadcast: MaskBroadcast,
        handoff: L0Handoff,
    ) -> FloatTensor<Self> {
        let key = Key { logits: logits.id(), relaxation };
        let logits: FloatTensor<Self> =
            Passed.prepare::<C>([logits.node()]).compute_bound().stateless(logits.into_primitive());
        let prepared = Masked.prepare::<C>([parameter.node(), logits.node()]).compute_bound().stateful();
        let (parameter, logits, noise) = (parameter.into_primitive(), logits.into_primitive(), noise.into_primitive());
        let (output, sum) =
            B::masked_and_counted(parameter.clone(), logits.clone(), noise.clone(), relaxation, broadcast);
        handoff.keep_sum::<B>(key, sum);
        match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish(MaskedState { parameter, logits, noise, key, broadcast, handoff }, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn open_gates(logits: FloatTensor<Self>, relaxation: Relaxation, handoff: L0Handoff) -> FloatTensor<Self> {
        let key = Key { logits: logits.id(), relaxation };
        let prepared = Remainder.prepare::<C>([logits.node()]).compute_bound().stateful();
        let logits = logits.into_primitive();
        let sum = handoff.sum::<B>(key).unwrap_or_else(|| B::open_gates(logits.clone(), relaxation, handoff.clone()));
        let remainder: FloatTensor<Self> = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((logits, key, handoff.clone()), sum.clone()),
            OpsKind::UnTracked(prepared) => return prepared.finish(sum),
        };
        let silent: FloatTensor<Self> = Silent.prepare::<C>([remainder.node()]).compute_bound().stateless(sum.clone());
        match Counted.prepare::<C>([silent.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((key, handoff), sum),
            OpsKind::UnTracked(prepared) => prepared.finish(sum),
        }
    }
}

/// A tensor without elements beside `tensor`.
fn none_like<B: MaskKernels>(tensor: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros(Shape::new([0]), &tensor.device(), tensor.dtype().into())
}
