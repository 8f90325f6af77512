//! The kernels that stand in for Burn's operations on the CPU, each beside the operations that it stands in for.
//!
//! ```text
//! cargo bench -p xtask
//! cargo bench -p xtask -- softmax
//! ```
// Criterion's macros make functions without documentation.
#![allow(missing_docs)]

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData, activation};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ns_circuit::{AdamW, CircuitConfig, CircuitModel, MaskMethod, discover_targets, rng};
use ns_models::{Activation, AttentionBias, attend};

/// The allocator of the commands: Burn's operations are not slower for fresh pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// GPT-2 small's sizes.
const HIDDEN: usize = 768;
const HEADS: usize = 12;
/// Tokens: 32 sequences of 15.
const SEQUENCES: usize = 32;
const SEQ: usize = 15;
const LEARNING_RATE: f64 = 1e-3;

criterion_group!(kernels, gelu, softmax, masks, adamw);
criterion_main!(kernels);

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut stream = rng::stream(0, "bench/kernels", 0, 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng::standard_normal(&mut stream)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Forward and backward of `f`, from a leaf.
fn pass<const D: usize>(x: &Tensor<D>, f: impl Fn(Tensor<D>) -> Tensor<D>) {
    let _gradients = f(x.clone().require_grad()).sum().backward();
}

fn gelu(criterion: &mut Criterion) {
    let x = normal([SEQUENCES * SEQ, 4 * HIDDEN], &Device::default().autodiff());
    let mut group = criterion.benchmark_group("gelu, forward and backward");
    group.bench_function("kernel", |bencher| bencher.iter(|| pass(&x, |x| Activation::Gelu.forward(x))));
    group.bench_function("burn", |bencher| bencher.iter(|| pass(&x, activation::gelu)));
    group.finish();
}

fn softmax(criterion: &mut Criterion) {
    let device = Device::default().autodiff();
    let heads = normal([SEQUENCES, HEADS, SEQ, HIDDEN / HEADS], &device);
    let bias = AttentionBias::causal(SEQ, None, &device);
    let future = Tensor::<2, burn::tensor::Bool>::tril_mask([SEQ, SEQ], 0, &device).reshape([1, 1, SEQ, SEQ]);
    let by_burn = |x: Tensor<4>| {
        let scores = x.clone().matmul(x.clone().swap_dims(2, 3)).mul_scalar(0.125);
        activation::softmax(scores.mask_fill(future.clone(), f32::MIN), 3).matmul(x)
    };
    let mut group = criterion.benchmark_group("softmax in attention, forward and backward");
    group.bench_function("kernel", |bencher| {
        bencher.iter(|| pass(&heads, |x| attend(x.clone(), x.clone(), x, 0.125, &bias)));
    });
    group.bench_function("burn", |bencher| bencher.iter(|| pass(&heads, by_burn)));
    group.finish();
}

/// Effective weight, L0, and the gradients of both, of 2.4 million logits.
fn masks(criterion: &mut Criterion) {
    let device = Device::default().autodiff();
    let layer: Linear = LinearConfig::new(HIDDEN, 4 * HIDDEN).with_bias(false).init(&device);
    let mut group = criterion.benchmark_group("effective weight and L0, forward and backward");
    let methods = [
        MaskMethod::ContinuousSparsification { mask_init_value: 0.0 },
        MaskMethod::HardConcrete { mask_init_percentage: 0.5 },
    ];
    for mask_method in methods {
        let name = mask_method.name();
        let circuit = masked(&layer, mask_method);
        let mut step = 0;
        group.bench_function(BenchmarkId::new("kernel", name), |bencher| {
            bencher.iter(|| {
                step += 1;
                circuit.begin_step(0, step);
                let effective = circuit.wrapped().layer.weight.val();
                let _gradients = (effective.sum() + circuit.l0_training()).backward();
            });
        });
    }
    let (weight, logits) = (layer.weight.val().detach(), Tensor::<2>::zeros([HIDDEN, 4 * HIDDEN], &device));
    group.bench_function(BenchmarkId::new("burn", "continuous_sparsification"), |bencher| {
        bencher.iter(|| {
            let soft = activation::sigmoid(logits.clone().require_grad());
            let _gradients = ((weight.clone() * soft.clone()).sum() + soft.sum()).backward();
        });
    });
    group.finish();
}

#[derive(Module, Debug)]
struct Wrapped {
    layer: Linear,
}

fn masked(layer: &Linear, mask_method: MaskMethod) -> CircuitModel<Wrapped> {
    let model = Wrapped { layer: layer.clone() };
    let config = CircuitConfig { mask_method, target_layers: vec!["layer".into()], ..CircuitConfig::default() };
    CircuitModel::new(config, model.clone(), &discover_targets(&model)).expect("a linear layer can be masked")
}

#[derive(Module, Debug)]
struct Logits {
    logits: Param<Tensor<1>>,
}

/// One step on 2.4 million logits.
fn adamw(criterion: &mut Criterion) {
    let device = Device::default().autodiff();
    let n = 4 * HIDDEN * HIDDEN;
    let mut group = criterion.benchmark_group("AdamW");
    let optimizers: [(&str, ModuleOptimizer); 2] =
        [("kernel", AdamW::default().into()), ("burn", AdamWConfig::new().init())];
    for (name, mut optimizer) in optimizers {
        let model = Logits { logits: Param::from_tensor(Tensor::zeros([n], &device)) };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || GradientsParams::from_grads(model.logits.val().square().sum().backward(), &model),
                |gradients| optimizer.step(LEARNING_RATE, model.clone(), gradients),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}
