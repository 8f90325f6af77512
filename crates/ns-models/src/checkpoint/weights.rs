//! Loads a checkpoint into a module. Missing and unexpected tensors are errors.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{ModuleSnapshot, bridge, burn_pack};
use burn::tensor::{Tensor, TensorData};

use crate::checkpoint::{Checkpoint, HfNames};
use crate::config::invalid_config;
use crate::error::ModelError;

/// The largest number of parameters: 400 GB as f32.
const MAX_PARAMETERS: usize = 100_000_000_000;

/// Loads every parameter of `module` from `checkpoint`, as f32.
///
/// # Errors
/// - [`ModelError::MissingTensors`] if the checkpoint lacks a parameter
/// - [`ModelError::ExtraTensors`] if it has tensors that the model does not have and that `names` does not ignore
/// - [`ModelError::MisshapenTensor`] if a tensor has the wrong shape
/// - [`ModelError::Unloadable`] if burn-store rejects a tensor
/// - the errors of [`Checkpoint::float_data`]
pub fn load_weights<M: Module>(module: M, checkpoint: Checkpoint, names: &HfNames) -> Result<M, ModelError> {
    let checkpoint = checkpoint.for_model(names);
    let expected = expected_tensors(&module, names);
    check_names(&checkpoint, &expected, names)?;
    check_shapes(&checkpoint, &expected)?;
    fill(module, &checkpoint, expected)
}

/// Loads the parameters of the base model only, from a checkpoint with any head or none. The head keeps its parameters,
/// and so does a pooler that is not in the checkpoint.
///
/// # Errors
/// Returns the errors of [`load_weights`], except that extra tensors are ignored.
pub fn load_base_weights<M: Module>(module: M, checkpoint: Checkpoint, names: &HfNames) -> Result<M, ModelError> {
    let checkpoint = checkpoint.for_model(names);
    let expected = expected_base_tensors(&module, &checkpoint, names)?;
    fill(module, &checkpoint, expected)
}

/// Checks that the weights of the base model are in the checkpoint, without reading them.
///
/// # Errors
/// Returns [`ModelError::MissingTensors`] and [`ModelError::MisshapenTensor`], as [`load_base_weights`].
pub fn check_base_weights<M: Module>(module: &M, checkpoint: Checkpoint, names: &HfNames) -> Result<(), ModelError> {
    expected_base_tensors(module, &checkpoint.for_model(names), names).map(drop)
}

/// The parameters of the base model, which are in the checkpoint with these shapes.
fn expected_base_tensors<M: Module>(
    module: &M,
    checkpoint: &Checkpoint,
    names: &HfNames,
) -> Result<BTreeMap<String, Expected>, ModelError> {
    let prefix = format!("{}.", names.base.1);
    let expected = expected_tensors(module, names).into_iter().filter(|(name, _)| {
        let is_missing_pooler = name.contains("pooler.") && checkpoint.shape(name).is_none();
        (!names.has_head || name.starts_with(&prefix)) && !is_missing_pooler
    });
    let expected: BTreeMap<_, _> = expected.collect();
    let missing: Vec<String> = expected.keys().filter(|name| checkpoint.shape(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Err(ModelError::MissingTensors { names: missing, nearest: None });
    }
    check_shapes(checkpoint, &expected)?;
    Ok(expected)
}

/// Compares the shapes in the headers of the files with those of the parameters.
fn check_shapes(checkpoint: &Checkpoint, expected: &BTreeMap<String, Expected>) -> Result<(), ModelError> {
    for (name, Expected { shape, .. }) in expected {
        if let Some(found) = checkpoint.shape(name).filter(|found| found != shape) {
            return Err(ModelError::MisshapenTensor { name: name.clone(), expected: shape.clone(), found });
        }
    }
    Ok(())
}

/// Checks that a model with random weights has at most [`MAX_PARAMETERS`] parameters, without allocating them.
///
/// # Errors
/// Returns [`ModelError::InvalidConfig`] for a larger model.
pub(crate) fn check_parameter_count<M: Module>(module: &M) -> Result<(), ModelError> {
    let mut shapes = Shapes::default();
    module.visit(&mut shapes);
    let count = |shape: &[usize]| shape.iter().try_fold(1, |count: usize, size| count.checked_mul(*size));
    let total = shapes.found.iter().try_fold(0, |total: usize, (_, shape)| total.checked_add(count(shape)?));
    match total {
        Some(total) if total <= MAX_PARAMETERS => Ok(()),
        total => {
            let found = total.map_or_else(|| format!("more than {}", usize::MAX), |total| total.to_string());
            Err(invalid_config("the number of parameters", found, format!("it must be at most {MAX_PARAMETERS}")))
        }
    }
}

fn fill<M: Module>(
    mut module: M,
    checkpoint: &Checkpoint,
    expected: BTreeMap<String, Expected>,
) -> Result<M, ModelError> {
    for (name, Expected { path, transposed, .. }) in expected {
        let Some(data) = checkpoint.float_data(&name)? else {
            continue;
        };
        let data = if transposed { transpose(data) } else { data };
        // One tensor at a time, so that at most one tensor is in memory twice.
        let result = module.apply(vec![bridge::from_data(data, path, None)], None, None, true);
        if let Some(error) = result.errors.first() {
            return Err(ModelError::Unloadable { reason: error.to_string() });
        }
    }
    Ok(module)
}

/// A parameter of the module: its Burn path, its shape in the checkpoint, and whether it is stored transposed there.
struct Expected {
    path: String,
    shape: Vec<usize>,
    transposed: bool,
}

/// The parameters of a module by HF name.
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

/// Collects paths (without enum variants) and shapes of a module's float parameters. It does not read their values, so
/// the initial zeros of a lazily initialised model are never allocated.
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

/// Float tensors of a module: its parameters, and the running statistics of its batch norms.
pub(super) fn parameters<M: Module>(module: &M) -> Vec<burn_pack::Tensor> {
    let tensors = module.collect(None, None, true).into_iter();
    tensors.filter(|tensor| tensor.dtype.is_float()).collect()
}

/// Checks that the checkpoint has exactly the expected tensors, apart from ignored keys.
fn check_names(
    checkpoint: &Checkpoint,
    expected: &BTreeMap<String, Expected>,
    names: &HfNames,
) -> Result<(), ModelError> {
    let found: BTreeSet<&str> = checkpoint.names().filter(|key| !names.is_ignored(key)).collect();
    let is_extra = |key: &&&str| !expected.contains_key(**key);
    let extra: Vec<String> = found.iter().filter(is_extra).map(ToString::to_string).collect();
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

/// Side of the tiles in [`transpose`]: the rows and columns of a tile stay in the processor's cache.
const TILE: usize = 32;

/// Transposes a matrix as f32: `[rows, columns]` → `[columns, rows]`.
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
