//! The kernels on the CPU backend: in place where nobody else holds the tensor, in parallel where it is large.

use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{DType, Shape};
use rayon::prelude::*;

use super::{Gate, Kernels, portable, slices};

/// Elements that one task takes; a tensor with fewer is not worth a second thread.
const TASK: usize = 1 << 14;

impl Kernels for Flex {
    fn gated(x: FloatTensor<Self>, gate: Gate) -> FloatTensor<Self> {
        if x.dtype() != DType::F32 {
            return portable::gated::<Self>(x, gate);
        }
        let mut x = contiguous(x);
        x.storage_mut::<f32>().par_chunks_mut(TASK).for_each(|x| slices::gated(x, gate));
        x
    }

    fn gated_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>, gate: Gate) -> FloatTensor<Self> {
        if x.dtype() != DType::F32 {
            return portable::gated_backward::<Self>(x, gradient, gate);
        }
        let (x, mut gradient) = (contiguous(x), contiguous(gradient));
        let x = x.storage::<f32>().par_chunks(TASK);
        let pairs = x.zip(gradient.storage_mut::<f32>().par_chunks_mut(TASK));
        pairs.for_each(|(x, gradient)| slices::gated_backward(x, gradient, gate));
        gradient
    }

    fn biased_softmax(scores: FloatTensor<Self>, bias: FloatTensor<Self>, scale: f64) -> FloatTensor<Self> {
        let [_, heads, queries, keys] = scores.layout().shape().dims();
        if scores.dtype() != DType::F32 || keys == 0 {
            return portable::biased_softmax::<Self>(scores, bias, scale);
        }
        let bias = BiasRows::new(bias, keys);
        let (values, rows, scale) = (bias.tensor.storage::<f32>(), rows_per_task(keys), scale as f32);
        let mut scores = contiguous(scores);
        let tasks = scores.storage_mut::<f32>().par_chunks_mut(rows * keys).enumerate();
        tasks.for_each(|(task, scores)| {
            let mut lanes = slices::Lanes::with_len(keys);
            for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
                let row = task * rows + row;
                let start = bias.start([row / (heads * queries), row / queries % heads, row % queries]);
                slices::biased_softmax(scores, &values[start..start + keys], scale, &mut lanes);
            }
        });
        scores
    }

    fn softmax_backward(p: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let [_, _, _, keys] = p.layout().shape().dims();
        if p.dtype() != DType::F32 || keys == 0 {
            return portable::softmax_backward::<Self>(p, gradient);
        }
        let (p, mut gradient, chunk) = (contiguous(p), contiguous(gradient), rows_per_task(keys) * keys);
        let p = p.storage::<f32>().par_chunks(chunk);
        let pairs = p.zip(gradient.storage_mut::<f32>().par_chunks_mut(chunk));
        pairs.for_each(|(p, gradient)| {
            let rows = p.chunks_exact(keys).zip(gradient.chunks_exact_mut(keys));
            rows.for_each(|(p, gradient)| slices::softmax_backward(p, gradient));
        });
        gradient
    }
}

/// A bias over attention scores as rows of keys; a dimension of 1 is read again and again, not copied.
struct BiasRows {
    tensor: FloatTensor<Flex>,
    /// Elements to the next batch, head and query.
    steps: [usize; 3],
}

impl BiasRows {
    fn new(bias: FloatTensor<Flex>, keys: usize) -> Self {
        let [batch, heads, queries, _] = bias.layout().shape().dims();
        let tensor = contiguous(<Flex as burn::backend::ops::FloatTensorOps<Flex>>::float_expand(
            bias,
            Shape::new([batch, heads, queries, keys]),
        ));
        let step = |dim: usize, step: usize| if dim == 1 { 0 } else { step };
        let steps = [step(batch, heads * queries * keys), step(heads, queries * keys), step(queries, keys)];
        Self { tensor, steps }
    }

    /// Where the row of a batch, head and query begins.
    fn start(&self, at: [usize; 3]) -> usize {
        at.iter().zip(self.steps).map(|(at, step)| at * step).sum()
    }
}

fn rows_per_task(keys: usize) -> usize {
    (TASK / keys).max(1)
}

/// The tensor in row-major order. It is taken by value, so that a copy of the handle does not keep its memory from
/// being written to.
fn contiguous(tensor: FloatTensor<Flex>) -> FloatTensor<Flex> {
    tensor.to_contiguous()
}
