//! From a checkpoint into a module: strictly, every tensor and no other.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{ModuleSnapshot, bridge, burn_pack};
use burn::tensor::{Tensor, TensorData};

use crate::checkpoint::{Checkpoint, HfNames};
use crate::error::ModelError;

/// Fills every parameter of `module` from `checkpoint`, as f32.
///
/// # Errors
/// [`ModelError::MissingTensors`], [`ModelError::ExtraTensors`] and [`ModelError::MisshapenTensor`] name what does
/// not fit; [`ModelError::Unloadable`] is what burn-store refuses; [`ModelError::UnsupportedDtype`] and [`ModelError::NotSafetensors`] as the checkpoint reads.
pub fn load_weights<M: Module>(module: M, checkpoint: Checkpoint, names: &HfNames) -> Result<M, ModelError> {
    let checkpoint = checkpoint.for_model(names);
    let expected = expected_tensors(&module, names);
    check_names(&checkpoint, &expected, names)?;
    fill(module, &checkpoint, expected)
}

/// Fills the parameters of the base model alone, whatever head the checkpoint was saved with; the head stays as it is,
/// and so does a pooler that is not in the file.
///
/// # Errors
/// As [`load_weights`].
pub fn load_base_weights<M: Module>(module: M, checkpoint: Checkpoint, names: &HfNames) -> Result<M, ModelError> {
    let checkpoint = checkpoint.for_model(names);
    let prefix = format!("{}.", names.base.1);
    let expected = expected_tensors(&module, names).into_iter().filter(|(name, _)| {
        let left_out = name.contains("pooler.") && checkpoint.shape(name).is_none();
        (!names.has_head || name.starts_with(&prefix)) && !left_out
    });
    let expected: BTreeMap<_, _> = expected.collect();
    let missing: Vec<String> = expected.keys().filter(|name| checkpoint.shape(name).is_none()).cloned().collect();
    match missing.is_empty() {
        true => fill(module, &checkpoint, expected),
        false => Err(ModelError::MissingTensors { names: missing, nearest: None }),
    }
}

fn fill<M: Module>(
    mut module: M,
    checkpoint: &Checkpoint,
    expected: BTreeMap<String, Expected>,
) -> Result<M, ModelError> {
    for (name, Expected { path, shape, transposed }) in expected {
        let Some(data) = checkpoint.float_data(&name)? else {
            continue;
        };
        if data.shape().to_vec() != shape {
            return Err(ModelError::MisshapenTensor { name, expected: shape, found: data.shape().to_vec() });
        }
        let data = if transposed { transpose(data) } else { data };
        // One at a time, so that no more than one tensor is there twice.
        let result = module.apply(vec![bridge::from_data(data, path, None)], None, None, true);
        if let Some(error) = result.errors.first() {
            return Err(ModelError::Unloadable { reason: error.to_string() });
        }
    }
    Ok(module)
}

struct Expected {
    path: String,
    shape: Vec<usize>,
    transposed: bool,
}

/// What the module wants, by HF name, with shapes in HF layout.
fn expected_tensors<M: Module>(module: &M, names: &HfNames) -> BTreeMap<String, Expected> {
    let transposed = names.transposed(module);
    let mut shapes = Shapes::default();
    module.visit(&mut shapes);
    let expected = shapes.found.into_iter().map(|(path, mut shape)| {
        let transposed = transposed.contains(&path);
        if transposed {
            shape.reverse();
        }
        (names.name(&path), Expected { path, shape, transposed })
    });
    expected.collect()
}

/// Paths (without enum variants) and shapes of a module's float parameters. Asking for no value, it leaves the zeros
/// that a checkpoint is going to replace unmade.
#[derive(Default)]
struct Shapes {
    path: Vec<(String, bool)>,
    found: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.into(), container_type.starts_with("Enum:")));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parts = self.path.iter().filter(|(_, is_variant)| !is_variant).map(|(name, _)| name.as_str());
        self.found.push((parts.collect::<Vec<_>>().join("."), param.lazy_shape().to_vec()));
    }
}

/// The float tensors of a module: its parameters, and the statistics of its batch norms.
pub(super) fn parameters<M: Module>(module: &M) -> Vec<burn_pack::Tensor> {
    let tensors = module.collect(None, None, true).into_iter();
    tensors.filter(|tensor| tensor.dtype.is_float()).collect()
}

fn check_names(
    checkpoint: &Checkpoint,
    expected: &BTreeMap<String, Expected>,
    names: &HfNames,
) -> Result<(), ModelError> {
    let found: BTreeSet<&str> = checkpoint.names().filter(|key| !names.is_ignored(key)).collect();
    let extra: Vec<String> = found.iter().filter(|k| !expected.contains_key(**k)).map(ToString::to_string).collect();
    let missing: Vec<String> = expected.keys().filter(|name| !found.contains(name.as_str())).cloned().collect();
    if let Some(first) = missing.first() {
        let distance = |key: &&String| strsim::damerau_levenshtein(key, first);
        let nearest = extra.iter().min_by_key(distance).cloned();
        return Err(ModelError::MissingTensors { names: missing, nearest });
    }
    match extra.is_empty() {
        true => Ok(()),
        false => Err(ModelError::ExtraTensors { names: extra }),
    }
}

/// Side of the squares that are turned at once: a row and a column of one stay in the cache.
const TILE: usize = 32;

/// `[rows, columns]` → `[columns, rows]`, f32.
pub(crate) fn transpose(data: TensorData) -> TensorData {
    let [rows, columns] = [data.shape()[0], data.shape()[1]];
    let values = data.try_to_vec::<f32>().unwrap_or_else(|_| data.iter::<f32>().collect());
    let mut transposed = vec![0.0; values.len()];
    for (top, left) in (0..rows).step_by(TILE).flat_map(|top| (0..columns).step_by(TILE).map(move |left| (top, left))) {
        for row in top..(top + TILE).min(rows) {
            for column in left..(left + TILE).min(columns) {
                transposed[column * rows + row] = values[row * columns + column];
            }
        }
    }
    TensorData::new(transposed, [columns, rows])
}
