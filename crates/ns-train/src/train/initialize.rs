//! Fresh weights from a seed, the same on every backend.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param};
use burn::store::ModuleSnapshot;
use burn::tensor::{Tensor, TensorData};
use ns_circuit::rng;
use ns_models::{InitialValue, Model};

/// Draws every parameter as HF does for this architecture; each from its own stream, by name, so that one tensor's
/// values depend on no other's.
pub(crate) fn initialize<M: Model>(model: M, seed: u64) -> M {
    let tensors = model.collect(None, None, true).into_iter();
    let values = tensors.map(|tensor| (tensor.name.clone(), model.initial_value(&tensor.name, &tensor.shape)));
    let values = values.collect();
    model.map(&mut Initializer { values, seed, path: Vec::new() })
}

struct Initializer {
    /// By name.
    values: BTreeMap<String, InitialValue>,
    seed: u64,
    /// Names on the way to where the mapper is; none for an enum's variant.
    path: Vec<Option<String>>,
}

impl ModuleMapper for Initializer {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((!container_type.starts_with("Enum:")).then(|| name.into()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.iter().flatten().cloned().collect::<Vec<_>>().join(".");
        let Some(value) = self.values.get(&name) else { return param };
        param.map(|old| {
            let (shape, device, trained) = (old.shape(), old.device(), old.is_require_grad());
            // A second copy of the embeddings would be the peak of many a run.
            drop(old);
            let drawn = TensorData::new(draw(&name, &shape, *value, self.seed), shape);
            Tensor::from_data(drawn, &device).set_require_grad(trained)
        })
    }
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
