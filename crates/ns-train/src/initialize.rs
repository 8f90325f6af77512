//! Fresh weights from a seed, the same on every backend.

use burn::store::{ModuleSnapshot, bridge};
use burn::tensor::TensorData;
use ns_circuit::rng;
use ns_models::{InitialValue, Model};

/// Draws every parameter as HF does for this architecture; each from its own stream, by name, so that one tensor's
/// values depend on no other's.
pub(crate) fn initialize<M: Model>(mut model: M, seed: u64) -> M {
    let tensors = model.collect(None, None, true).into_iter().filter(|tensor| tensor.dtype.is_float());
    let tensors: Vec<_> = tensors.map(|tensor| (tensor.name, tensor.shape.to_vec())).collect();
    // One by one: a second copy of all weights would be the peak of many a run.
    for (name, shape) in tensors {
        let value = model.initial_value(&name, &shape);
        let fresh = bridge::from_data(TensorData::new(draw(&name, &shape, value, seed), shape), name, None);
        model.apply(vec![fresh], None, None, true);
    }
    model
}

fn draw(name: &str, shape: &[usize], value: InitialValue, seed: u64) -> Vec<f32> {
    let n: usize = shape.iter().product();
    match value {
        InitialValue::Constant(value) => vec![value as f32; n],
        InitialValue::Uniform { bound } => {
            let mut stream = rng::stream(seed, name, 0, 0);
            (0..n).map(|_| (rng::uniform01(&mut stream) * 2.0 - 1.0) * bound as f32).collect()
        }
        InitialValue::Normal { std } => {
            let mut stream = rng::stream(seed, name, 0, 0);
            (0..n).map(|_| rng::standard_normal(&mut stream) * std as f32).collect()
        }
    }
}
