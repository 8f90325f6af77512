//! Selects and checks the parameters that get masks, from a configuration and a list of targets.

use std::collections::BTreeMap;

use tracing::warn;

use crate::config::CircuitConfig;
use crate::error::CircuitError;
use crate::layout::ParamLayout;
use crate::names;
use crate::target::{MaskTarget, ParamInfo, parameter_path};

/// Returns the parameters to mask in the layers that `config` names, each weight before its bias.
///
/// # Errors
/// Returns an error for a layer that cannot be masked; see [`CircuitModel::new`](crate::CircuitModel::new).
pub(crate) fn build_layouts(
    config: &CircuitConfig,
    targets: &[MaskTarget],
    params: &BTreeMap<String, ParamInfo>,
) -> Result<Vec<ParamLayout>, CircuitError> {
    let mut by_name = BTreeMap::new();
    for target in targets {
        if by_name.insert(target.name.as_str(), target).is_some() {
            return Err(CircuitError::DuplicateLayer { name: target.name.clone(), place: "the list of targets" });
        }
    }
    let mut masked: Vec<ParamLayout> = Vec::new();
    for name in &config.target_layers {
        let target = by_name.get(name.as_str()).ok_or_else(|| CircuitError::UnknownLayer {
            asked: name.clone(),
            nearest: names::nearest(name, by_name.keys().copied()),
        })?;
        let weight = weight_param(config, target, params)?;
        if let Some(first) = masked.iter().find(|param| param.path == weight.path) {
            return Err(CircuitError::SharedParameter {
                first: first.layer.clone(),
                second: name.clone(),
                path: weight.path,
            });
        }
        let bias = match config.mask_bias {
            true => bias_param(&weight, target, params)?,
            false => None,
        };
        masked.push(weight);
        masked.extend(bias);
    }
    Ok(masked)
}

fn weight_param(
    config: &CircuitConfig,
    target: &MaskTarget,
    params: &BTreeMap<String, ParamInfo>,
) -> Result<ParamLayout, CircuitError> {
    let path = parameter_path(&target.path, "weight");
    let info = params.get(&path).ok_or_else(|| CircuitError::ParameterNotFound {
        layer: target.name.clone(),
        path: path.clone(),
        nearest: names::nearest(&path, params.keys().map(String::as_str)),
    })?;
    check(target, &path, info, target.kind.rank())?;
    Ok(ParamLayout::weight(&target.name, target.kind, path, info.shape.clone(), config.mask_unit))
}

/// The masked bias that belongs to `weight`. If the layer has no bias, logs a warning and returns `None`.
fn bias_param(
    weight: &ParamLayout,
    target: &MaskTarget,
    params: &BTreeMap<String, ParamInfo>,
) -> Result<Option<ParamLayout>, CircuitError> {
    let path = parameter_path(&target.path, "bias");
    let Some(info) = params.get(&path) else {
        warn!(layer = target.name, "the layer has no bias, so no bias is masked");
        return Ok(None);
    };
    check(target, &path, info, 1)?;
    Ok(Some(ParamLayout::bias(weight, path, info.shape.clone())))
}

/// Checks that the parameter has no reparameterization and has the expected rank.
fn check(target: &MaskTarget, path: &str, info: &ParamInfo, rank: usize) -> Result<(), CircuitError> {
    if info.reparameterized {
        return Err(CircuitError::AlreadyReparameterized { layer: target.name.clone(), path: path.to_string() });
    }
    if info.shape.len() != rank {
        return Err(CircuitError::RankMismatch {
            layer: target.name.clone(),
            kind: target.kind,
            path: path.to_string(),
            expected: rank,
            found: info.shape.clone(),
        });
    }
    Ok(())
}
