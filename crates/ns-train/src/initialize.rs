//! Fresh weights from a seed, the same on every backend.

use burn::store::{ModuleSnapshot, bridge};
use burn::tensor::TensorData;
use ns_circuit::rng;
use ns_models::{InitialValue, Model};

/// Draws every parameter as HF does for this architecture; each from its own stream, by name, so that one tensor's
/// values depend on no other's.
pub(crate) fn initialize<M: Model>(mut model: M, seed: u64) -> M {
    let fresh = model.collect(None, None, true).into_iter().filter(|tensor| tensor.dtype.is_float()).map(|tensor| {
        let shape = tensor.shape.to_vec();
        let n: usize = shape.iter().product();
        let values: Vec<f32> = match model.initial_value(&tensor.name, &shape) {
            InitialValue::Constant(value) => vec![value as f32; n],
            InitialValue::Uniform { bound } => {
                let mut stream = rng::stream(seed, &tensor.name, 0, 0);
                (0..n).map(|_| (rng::uniform01(&mut stream) * 2.0 - 1.0) * bound as f32).collect()
            }
            InitialValue::Normal { std } => {
                let mut stream = rng::stream(seed, &tensor.name, 0, 0);
                (0..n).map(|_| rng::standard_normal(&mut stream) * std as f32).collect()
            }
        };
        bridge::from_data(TensorData::new(values, shape), tensor.name, None)
    });
    let fresh: Vec<_> = fresh.collect();
    model.apply(fresh, None, None, true);
    model
}
