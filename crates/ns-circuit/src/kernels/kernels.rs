//! The kernels for the CPU backend `flex`: one pass over the data, in place if a tensor is not shared, and in parallel
//! if it is large.

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{DType, Shape, TensorData};
use rayon::prelude::*;

use super::{AdamWStep, MaskBroadcast, MaskKernels, Relaxation, portable, slices};

/// Number of elements per parallel task. A smaller tensor is processed on one thread.
const TASK: usize = 1 << 14;
/// Number of parameter rows per parallel task, for masks that broadcast over rows.
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
                (multiply_broadcast(w, &mask, broadcast), sum)
            }
        };
        (tensor(values, shape), scalar(sum))
    }

    fn masked_backward(
        parameter: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        gates_gradient: FloatTensor<Self>,
        relaxation: Relaxation,
        broadcast: MaskBroadcast,
    ) -> FloatTensor<Self> {
        if !all_f32([&parameter, &logits, &noise, &gradient, &gates_gradient]) {
            return portable::masked_backward::<Self>(
                parameter,
                logits,
                noise,
                gradient,
                gates_gradient,
                relaxation,
                broadcast,
            );
        }
        let shape = logits.layout().shape().clone();
        let (parameter, logits, noise) = (contiguous(parameter), contiguous(logits), contiguous(noise));
        let (w, s, noise) = (parameter.storage::<f32>(), logits.storage::<f32>(), noise.storage::<f32>());
        let (mut gradient, gates_gradient) = (contiguous(gradient), scalar_value(gates_gradient));
        if broadcast.repeat == 1 {
            masked_backward(w, s, noise, gradient.storage_mut(), gates_gradient, relaxation);
            return gradient.reshape(shape);
        }
        let mut sums = sum_products(w, gradient.storage(), broadcast);
        masked_backward(&vec![1.0; s.len()], s, noise, &mut sums, gates_gradient, relaxation);
        tensor(sums, shape)
    }

    fn open_gates(logits: FloatTensor<Self>, relaxation: Relaxation, _handoff: super::L0Handoff) -> FloatTensor<Self> {
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
        let (shape, gradient, logits) = (logits.layout().shape().clone(), scalar_value(gradient), contiguous(logits));
        let s = logits.storage::<f32>();
        let logits_gradient = filled(s.len(), |out| {
            let tasks = s.par_chunks(TASK).zip(out.par_chunks_mut(TASK));
            tasks.for_each(|(s, out)| slices::open_gates_backward(s, gradient, out, relaxation));
        });
        tensor(logits_gradient, shape)
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
            let range = task_range(task, out.len());
            *sum = slices::masked(&w[range.clone()], &s[range.clone()], noise_slice(noise, range), out, relaxation);
        });
    });
    (values, sums.into_iter().sum())
}

/// `gradient ← gradient · w · mask′(s) + gates_gradient · gate′(s)`.
fn masked_backward(
    w: &[f32],
    s: &[f32],
    noise: &[f32],
    gradient: &mut [f32],
    gates_gradient: f32,
    relaxation: Relaxation,
) {
    gradient.par_chunks_mut(TASK).enumerate().for_each(|(task, gradient)| {
        let range = task_range(task, gradient.len());
        let (w, s, noise) = (&w[range.clone()], &s[range.clone()], noise_slice(noise, range));
        slices::masked_backward(w, s, noise, gradient, gates_gradient, relaxation);
    });
}

/// `w` times a mask that broadcasts over its rows.
fn multiply_broadcast(w: &[f32], mask: &[f32], broadcast: MaskBroadcast) -> Vec<f32> {
    let MaskBroadcast { repeat, inner, .. } = broadcast;
    filled(w.len(), |out| {
        let rows = w.par_chunks(inner.max(1)).zip(out.par_chunks_mut(inner.max(1))).enumerate();
        rows.with_min_len(ROWS).for_each(|(row, (w, out))| {
            let start = row / repeat * inner;
            slices::product(w, &mask[start..start + inner], out);
        });
    })
}

/// The sums of `gradient · w` over all parameter entries that each mask entry covers.
fn sum_products(w: &[f32], gradient: &[f32], broadcast: MaskBroadcast) -> Vec<f32> {
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
    let partials: Vec<Vec<f32>> = (0..outer * tasks).into_par_iter().map(|i| partial(i / tasks, i % tasks)).collect();
    let mut sums = Vec::with_capacity(broadcast.mask_len());
    for partials in partials.chunks(tasks.max(1)) {
        sums.extend((0..inner).map(|i| partials.iter().map(|sums| sums[i]).sum::<f32>()));
    }
    sums
}

/// A vector of `len` elements that `fill` writes. The memory is not zeroed first.
fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: every caller iterates over all of `out`, zipped with slices of equal length, and writes each element.
    unsafe { values.set_len(len) };
    values
}

/// The range of the `len` elements of a task.
fn task_range(task: usize, len: usize) -> Range<usize> {
    task * TASK..task * TASK + len
}

/// The noise in `range`. Empty noise stays empty.
fn noise_slice(noise: &[f32], range: Range<usize>) -> &[f32] {
    if noise.is_empty() { noise } else { &noise[range] }
}

fn all_f32<const N: usize>(tensors: [&FloatTensor<Flex>; N]) -> bool {
    tensors.into_iter().all(|tensor| tensor.dtype() == DType::F32)
}

/// The tensor in row-major order. It is passed by value, so that no other handle prevents in-place writes to its
/// memory.
fn contiguous(tensor: FloatTensor<Flex>) -> FloatTensor<Flex> {
    tensor.to_contiguous()
}

fn tensor(values: Vec<f32>, shape: Shape) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

fn scalar(value: f64) -> FloatTensor<Flex> {
    tensor(vec![value as f32], Shape::new([1]))
}

/// The only element of a tensor; 0 if the tensor is empty.
fn scalar_value(tensor: FloatTensor<Flex>) -> f32 {
    contiguous(tensor).storage::<f32>().first().copied().unwrap_or_default()
}
