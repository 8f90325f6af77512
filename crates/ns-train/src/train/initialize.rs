//! Random initialisation of models from a seed. The values do not depend on the backend.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param};
use burn::store::ModuleSnapshot;
use burn::tensor::{Tensor, TensorData};
use ns_circuit::rng;
use ns_models::{InitialValue, Model};

/// Initialises every parameter with the distribution that HF uses for this architecture. Each parameter has its own
/// random stream, selected by its name, so its values do not depend on other parameters.
pub(crate) fn initialize<M: Model>(model: M, seed: u64) -> M {
    let tensors = model.collect(None, None, true).into_iter();
    let values = tensors.map(|tensor| (tensor.name.clone(), model.initial_value(&tensor.name, &tensor.shape)));
    let values = values.collect();
    model.map(&mut Initializer { values, seed, path: Vec::new() })
}

struct Initializer {
    /// Initial values by parameter name.
    values: BTreeMap<String, InitialValue>,
    seed: u64,
    /// Names of the modules around the current parameter; `None` for an enum variant, which is not part of the name.
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
            // Frees the old tensor first: two copies of the embeddings would set the peak memory of many runs.
            drop(old);
            let values = TensorData::new(sample(&name, &shape, *value, self.seed), shape);
            Tensor::from_data(values, &device).set_require_grad(trained)
        })
    }
}

fn sample(name: &str, shape: &[usize], value: InitialValue, seed: u64) -> Vec<f32> {
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
