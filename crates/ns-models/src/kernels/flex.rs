//! The kernels on the CPU backend. They work in place if the tensor is not shared, and in parallel if it is large.

use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{DType, Shape};
use rayon::prelude::*;

use super::{Gate, Kernels, portable, slices};

/// Number of elements per parallel task. A smaller tensor is processed by one thread.
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

/// The rows of keys of an attention bias. Dimensions of size 1 are broadcast without a copy.
struct BiasRows {
    tensor: FloatTensor<Flex>,
    /// Number of elements from one batch entry, head and query to the next; 0 for a dimension that is broadcast.
    strides: [usize; 3],
}

impl BiasRows {
    fn new(bias: FloatTensor<Flex>, keys: usize) -> Self {
        let [batch, heads, queries, _] = bias.layout().shape().dims();
        let tensor = contiguous(<Flex as burn::backend::ops::FloatTensorOps<Flex>>::float_expand(
            bias,
            Shape::new([batch, heads, queries, keys]),
        ));
        let stride = |dim: usize, stride: usize| if dim == 1 { 0 } else { stride };
        let strides = [stride(batch, heads * queries * keys), stride(heads, queries * keys), stride(queries, keys)];
        Self { tensor, strides }
    }

    /// Index of the first element of the row at a batch entry, head and query.
    fn start(&self, at: [usize; 3]) -> usize {
        at.iter().zip(self.strides).map(|(at, stride)| at * stride).sum()
    }
}

fn rows_per_task(keys: usize) -> usize {
    (TASK / keys).max(1)
}

/// The tensor in row-major order. It is passed by value, because a second handle would prevent writing in place.
fn contiguous(tensor: FloatTensor<Flex>) -> FloatTensor<Flex> {
    tensor.to_contiguous()
}
