//! First-order derivatives of the mask kernels.
//!
//! The gradient of the L0 term is a scalar times a function of the logits, and the backward pass of the effective
//! parameter reads the logits anyway. So the L0 term stores its scalar in the [`L0Handoff`], and the effective
//! parameter adds both gradients in one kernel. Autodiff runs backward steps from the deepest node to the shallowest.
//! Identity operations give the nodes the depths that this order needs:
//!
//! ```text
//! depth   0        1                   2              3
//!         logits → LogitsIdentity    → Masked                    effective parameter
//!         logits → UnclaimedGradient → StopGradient → GateSum    sum of the open gates
//! ```
//!
//! `GateSum` stores the scalar, and `Masked` takes it. `UnclaimedGradient` registers the gradient if `Masked` did not
//! take the scalar: the effective parameter may not be part of the loss, or it may be deeper than the L0 term because
//! its base is not a leaf.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{Autodiff, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Shape;

use super::l0_handoff::{Key, L0Handoff};
use super::{MaskBroadcast, MaskKernels, Relaxation};

/// An identity on the logits, which increases the depth of [`Masked`].
#[derive(Debug)]
struct LogitsIdentity;

impl<B: MaskKernels> Backward<B, 1> for LogitsIdentity {
    type State = ();

    fn backward(self, ops: Ops<(), 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| gradient);
    }
}

/// The effective parameter.
#[derive(Debug)]
struct Masked;

/// The tensors that the backward pass of [`Masked`] needs.
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
        let [parameter_node, logits_node] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        let MaskedState { parameter, logits, noise, key, broadcast, handoff } = ops.state;
        if let Some(node) = parameter_node {
            let (logits, noise) = (logits.clone(), noise.clone());
            let gradient = B::masked(gradient.clone(), logits, noise, key.relaxation, broadcast, handoff.clone());
            grads.register::<B>(node.id, gradient);
        }
        if let Some(node) = logits_node {
            let gates_gradient = handoff.take_gradient::<B>(key).unwrap_or_else(|| empty_like::<B>(&logits));
            let relaxation = key.relaxation;
            let gradient =
                B::masked_backward(parameter, logits, noise, gradient, gates_gradient, relaxation, broadcast);
            grads.register::<B>(node.id, gradient);
        }
    }
}

/// An identity whose backward step registers the gradient that [`GateSum`] stored, unless [`Masked`] took it. Its state
/// holds the logits.
#[derive(Debug)]
struct UnclaimedGradient;

impl<B: MaskKernels> Backward<B, 1> for UnclaimedGradient {
    type State = (FloatTensor<B>, Key, L0Handoff);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let ([node], (logits, key, handoff)) = (ops.parents, ops.state);
        if let (Some(node), Some(gradient)) = (node, handoff.take_gradient::<B>(key)) {
            grads.register::<B>(node.id, B::open_gates_backward(logits, gradient, key.relaxation));
        }
    }
}

/// An identity that passes no gradient on, because [`UnclaimedGradient`] or [`Masked`] registers it.
#[derive(Debug)]
struct StopGradient;

impl<B: MaskKernels> Backward<B, 1> for StopGradient {
    type State = ();

    fn backward(self, _ops: Ops<(), 1>, _grads: &mut Gradients, _checkpointer: &mut Checkpointer) {}
}

/// The sum of the open gates. Its backward step stores the gradient in the handoff.
#[derive(Debug)]
struct GateSum;

impl<B: MaskKernels> Backward<B, 1> for GateSum {
    type State = (Key, L0Handoff);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (key, handoff) = ops.state;
        let mut gradient = grads.consume::<B>(&ops.node);
        if let Some(stored) = handoff.take_gradient::<B>(key) {
            gradient = B::float_add(gradient, stored);
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
            LogitsIdentity.prepare::<C>([logits.node()]).compute_bound().stateless(logits.into_primitive());
        let prepared = Masked.prepare::<C>([parameter.node(), logits.node()]).compute_bound().stateful();
        let (parameter, logits, noise) = (parameter.into_primitive(), logits.into_primitive(), noise.into_primitive());
        let (output, sum) =
            B::masked_and_counted(parameter.clone(), logits.clone(), noise.clone(), relaxation, broadcast);
        handoff.store_sum::<B>(key, sum);
        match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish(MaskedState { parameter, logits, noise, key, broadcast, handoff }, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn open_gates(logits: FloatTensor<Self>, relaxation: Relaxation, handoff: L0Handoff) -> FloatTensor<Self> {
        let key = Key { logits: logits.id(), relaxation };
        let prepared = UnclaimedGradient.prepare::<C>([logits.node()]).compute_bound().stateful();
        let logits = logits.into_primitive();
        let sum = handoff.sum::<B>(key).unwrap_or_else(|| B::open_gates(logits.clone(), relaxation, handoff.clone()));
        let unclaimed: FloatTensor<Self> = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((logits, key, handoff.clone()), sum.clone()),
            OpsKind::UnTracked(prepared) => return prepared.finish(sum),
        };
        let stopped: FloatTensor<Self> =
            StopGradient.prepare::<C>([unclaimed.node()]).compute_bound().stateless(sum.clone());
        match GateSum.prepare::<C>([stopped.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((key, handoff), sum),
            OpsKind::UnTracked(prepared) => prepared.finish(sum),
        }
    }
}

/// A tensor without elements, with the device and dtype of `tensor`.
fn empty_like<B: MaskKernels>(tensor: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros(Shape::new([0]), &tensor.device(), tensor.dtype().into())
}
