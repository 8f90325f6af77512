//! The kernels on the CPU backend: one pass, in place where nobody else holds the tensor, in parallel where it is large.

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{DType, Shape, TensorData};
use rayon::prelude::*;

use super::{AdamWStep, MaskBroadcast, MaskKernels, Relaxation, portable, slices};

/// Elements that one task takes; a tensor with fewer is not worth a second thread.
const TASK: usize = 1 << 14;
/// Rows of a parameter whose gradients one task adds up.
const ROWS: usize = 32;

impl MaskKernels for Flex {
    fn masked_and_counted(
        parameter: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        relaxation: Relaxation,
        broadcast: MaskBroadcast,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !all_f32([&parameter, &logits, &noise]) {
            return portable::masked_and_counted::<Self>(parameter, logits, noise, relaxation, broadcast);
        }
        let shape = parameter.layout().shape().clone();
        let (parameter, logits, noise) = (contiguous(parameter), contiguous(logits), contiguous(noise));
        let (w, s, noise) = (parameter.storage::<f32>(), logits.storage::<f32>(), noise.storage::<f32>());
        let (values, sum) = match broadcast.repeat {
            1 => masked(w, s, noise, relaxation),
            _ => {
                let (mask, sum) = masked(&vec![1.0; s.len()], s, noise, relaxation);
                (spread(w, &mask, broadcast), sum)
            }
        };
        (tensor(values, shape), scalar(sum))
    }

    fn masked_backward(
        parameter: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        of_gates: FloatTensor<Self>,
        relaxation: Relaxation,
        broadcast: MaskBroadcast,
    ) -> FloatTensor<Self> {
        if !all_f32([&parameter, &logits, &noise, &gradient, &of_gates]) {
            return portable::masked_backward::<Self>(
                parameter, logits, noise, gradient, of_gates, relaxation, broadcast,
            );
        }
        let shape = logits.layout().shape().clone();
        let (parameter, logits, noise) = (contiguous(parameter), contiguous(logits), contiguous(noise));
        let (w, s, noise) = (parameter.storage::<f32>(), logits.storage::<f32>(), noise.storage::<f32>());
        let (mut gradient, of_gates) = (contiguous(gradient), number(of_gates));
        if broadcast.repeat == 1 {
            masked_backward(w, s, noise, gradient.storage_mut(), of_gates, relaxation);
            return gradient.reshape(shape);
        }
        let mut sums = gathered(w, gradient.storage(), broadcast);
        masked_backward(&vec![1.0; s.len()], s, noise, &mut sums, of_gates, relaxation);
        tensor(sums, shape)
    }

    fn open_gates(logits: FloatTensor<Self>, relaxation: Relaxation, _link: super::L0Handoff) -> FloatTensor<Self> {
        if logits.dtype() != DType::F32 {
            return portable::open_gates::<Self>(logits, relaxation);
        }
        let logits = contiguous(logits);
        let tasks = logits.storage::<f32>().par_chunks(TASK);
        let sums: Vec<f64> = tasks.map(|logits| slices::open_gates(logits, relaxation)).collect();
        scalar(sums.into_iter().sum())
    }

    fn open_gates_backward(
        logits: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        relaxation: Relaxation,
    ) -> FloatTensor<Self> {
        if !all_f32([&logits, &gradient]) {
            return portable::open_gates_backward::<Self>(logits, gradient, relaxation);
        }
        let (shape, gradient, logits) = (logits.layout().shape().clone(), number(gradient), contiguous(logits));
        let s = logits.storage::<f32>();
        let of_logits = filled(s.len(), |out| {
            let tasks = s.par_chunks(TASK).zip(out.par_chunks_mut(TASK));
            tasks.for_each(|(s, out)| slices::open_gates_backward(s, gradient, out, relaxation));
        });
        tensor(of_logits, shape)
    }

    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !all_f32([&parameter, &gradient, &first, &second]) {
            return portable::adamw::<Self>(parameter, gradient, first, second, step);
        }
        let (parameter, mut gradient) = (contiguous(parameter), contiguous(gradient));
        let (mut first, mut second) = (contiguous(first), contiguous(second));
        let parameters = parameter.storage::<f32>().par_chunks(TASK);
        let moments = first.storage_mut::<f32>().par_chunks_mut(TASK).zip(second.storage_mut().par_chunks_mut(TASK));
        let tasks = parameters.zip(gradient.storage_mut::<f32>().par_chunks_mut(TASK)).zip(moments);
        tasks.for_each(|((w, g), (m, v))| slices::adamw(w, g, m, v, step));
        (gradient, first, second)
    }
}

/// `w · mask(s)` and the sum of the open gates.
fn masked(w: &[f32], s: &[f32], noise: &[f32], relaxation: Relaxation) -> (Vec<f32>, f64) {
    let mut sums = vec![0.0; w.len().div_ceil(TASK)];
    let values = filled(w.len(), |out| {
        let tasks = out.par_chunks_mut(TASK).zip(&mut sums).enumerate();
        tasks.for_each(|(task, (out, sum))| {
            let part = part(task, out.len());
            *sum = slices::masked(&w[part.clone()], &s[part.clone()], part_of(noise, part), out, relaxation);
        });
    });
    (values, sums.into_iter().sum())
}

/// `gradient ← gradient · w · mask′(s) + of_gates · gate′(s)`.
fn masked_backward(w: &[f32], s: &[f32], noise: &[f32], gradient: &mut [f32], of_gates: f32, relaxation: Relaxation) {
    gradient.par_chunks_mut(TASK).enumerate().for_each(|(task, gradient)| {
        let part = part(task, gradient.len());
        let (w, s, noise) = (&w[part.clone()], &s[part.clone()], part_of(noise, part));
        slices::masked_backward(w, s, noise, gradient, of_gates, relaxation);
    });
}

/// `w` times a mask of its neurons.
fn spread(w: &[f32], mask: &[f32], broadcast: MaskBroadcast) -> Vec<f32> {
    let MaskBroadcast { repeat, inner, .. } = broadcast;
    filled(w.len(), |out| {
        let rows = w.par_chunks(inner.max(1)).zip(out.par_chunks_mut(inner.max(1))).enumerate();
        rows.with_min_len(ROWS).for_each(|(row, (w, out))| {
            let start = row / repeat * inner;
            slices::product(w, &mask[start..start + inner], out);
        });
    })
}

/// What `gradient · w` sums up to for each neuron.
fn gathered(w: &[f32], gradient: &[f32], broadcast: MaskBroadcast) -> Vec<f32> {
    let MaskBroadcast { outer, repeat, inner } = broadcast;
    let tasks = repeat.div_ceil(ROWS);
    let partial = |outer: usize, task: usize| {
        let rows = task * ROWS..repeat.min((task + 1) * ROWS);
        let mut sums = vec![0.0; inner];
        for row in rows.map(|row| (outer * repeat + row) * inner) {
            slices::add_product(&mut sums, &w[row..row + inner], &gradient[row..row + inner]);
        }
        sums
    };
    let partials: Vec<Vec<f32>> =
        (0..outer * tasks).into_par_iter().map(|at| partial(at / tasks, at % tasks)).collect();
    let mut sums = Vec::with_capacity(broadcast.mask_len());
    for partials in partials.chunks(tasks.max(1)) {
        sums.extend((0..inner).map(|at| partials.iter().map(|sums| sums[at]).sum::<f32>()));
    }
    sums
}

/// A vector that `fill` has written all of: fresh memory is not cleared first.
fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: every caller walks all of `out` in step with slices of its length, and writes each element.
    unsafe { values.set_len(len) };
    values
}

/// The place of a task's elements.
fn part(task: usize, len: usize) -> Range<usize> {
    task * TASK..task * TASK + len
}

/// A part of the noise; of no noise nothing.
fn part_of(noise: &[f32], part: Range<usize>) -> &[f32] {
    if noise.is_empty() { noise } else { &noise[part] }
}

fn all_f32<const N: usize>(tensors: [&FloatTensor<Flex>; N]) -> bool {
    tensors.into_iter().all(|tensor| tensor.dtype() == DType::F32)
}

/// The tensor in row-major order. It is taken by value, so that a copy of the handle does not keep its memory from
/// being written to.
fn contiguous(tensor: FloatTensor<Flex>) -> FloatTensor<Flex> {
    tensor.to_contiguous()
}

fn tensor(values: Vec<f32>, shape: Shape) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

fn scalar(value: f64) -> FloatTensor<Flex> {
    tensor(vec![value as f32], Shape::new([1]))
}

/// The only element of a tensor; 0 of none.
fn number(tensor: FloatTensor<Flex>) -> f32 {
    contiguous(tensor).storage::<f32>().first().copied().unwrap_or_default()
}
