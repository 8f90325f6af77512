//! First-order derivatives of the kernels.

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{Autodiff, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Shape;

use super::{Gate, Kernels};

/// Backward step of `gated`. It keeps x.
#[derive(Debug)]
struct Gated;

impl<B: Kernels> Backward<B, 1> for Gated {
    type State = (NodeId, Gate);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (x, gate) = ops.state;
        let x = checkpointer.retrieve_node_output(x);
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| B::gated_backward(x, gradient, gate));
    }
}

/// Backward step of `biased_softmax`. It keeps the output probabilities, the scale and the shape of the bias.
#[derive(Debug)]
struct BiasedSoftmax;

impl<B: Kernels> Backward<B, 2> for BiasedSoftmax {
    type State = (FloatTensor<B>, f64, Shape);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [scores, bias] = ops.parents;
        let (p, scale, bias_shape) = ops.state;
        let gradient = B::softmax_backward(p, grads.consume::<B>(&ops.node));
        if let Some(bias) = bias {
            grads.register::<B>(bias.id, sum_to_shape::<B>(gradient.clone(), &bias_shape));
        }
        if let Some(scores) = scores {
            grads.register::<B>(scores.id, B::float_mul_scalar(gradient, scale.into()));
        }
    }
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn gated(x: FloatTensor<Self>, gate: Gate) -> FloatTensor<Self> {
        match Gated.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = (prepared.checkpoint(&x), gate);
                prepared.finish(state, B::gated(x.into_primitive(), gate))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::gated(x.into_primitive(), gate)),
        }
    }

    fn biased_softmax(scores: FloatTensor<Self>, bias: FloatTensor<Self>, scale: f64) -> FloatTensor<Self> {
        let prepared = BiasedSoftmax.prepare::<C>([scores.node(), bias.node()]).compute_bound().stateful();
        let shape = bias.shape();
        let p = B::biased_softmax(scores.into_primitive(), bias.into_primitive(), scale);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((p.clone(), scale, shape), p),
            OpsKind::UnTracked(prepared) => prepared.finish(p),
        }
    }
}

/// Sums over the dimensions in which `shape` has size 1 and `tensor` does not.
fn sum_to_shape<B: Kernels>(tensor: FloatTensor<B>, shape: &Shape) -> FloatTensor<B> {
    let full = tensor.shape();
    let broadcast = (0..shape.num_dims()).filter(|&dim| shape[dim] == 1 && full[dim] != 1);
    broadcast.fold(tensor, |sum, dim| B::float_sum_dim(sum, dim))
}
