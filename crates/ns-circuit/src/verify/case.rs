//! The description of a golden mask case, and its checks.

use serde::Deserialize;

use super::{LAYER, Tensors};
use crate::config::{CircuitConfig, MagnitudeCriterion, MaskMethod, MaskUnit};
use crate::error::CircuitError;
use crate::methods::hard_concrete::HardConcrete;
use crate::target::LayerKind;

/// The content of `case.json`. Keys that belong to other methods or layer kinds are absent.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct MaskCase {
    pub(super) method: String,
    pub(super) layer: LayerKind,
    #[serde(default)]
    pub(super) mask_unit: MaskUnit,
    #[serde(default)]
    pub(super) mask_bias: bool,
    pub(super) temperature: Option<f64>,
    pub(super) left_stretch: Option<f64>,
    pub(super) right_stretch: Option<f64>,
    pub(super) prune_percentage: Option<f32>,
    pub(super) stride: Option<Vec<usize>>,
    pub(super) padding: Option<Vec<usize>>,
    pub(super) dilation: Option<Vec<usize>>,
    pub(super) groups: Option<usize>,
}

impl MaskCase {
    pub(super) fn config(&self, criterion: MagnitudeCriterion) -> Result<CircuitConfig, CircuitError> {
        let mask_method = match self.method.as_str() {
            "continuous_sparsification" => MaskMethod::ContinuousSparsification { mask_init_value: 0.0 },
            "hard_concrete" => MaskMethod::HardConcrete { mask_init_percentage: 0.5 },
            "magnitude_pruning" => MaskMethod::MagnitudePruning {
                prune_percentage: self.prune_percentage.ok_or_else(|| invalid("prune_percentage is missing".into()))?,
                criterion,
            },
            other => return Err(invalid(format!("unknown method {other:?}"))),
        };
        Ok(CircuitConfig {
            mask_method,
            mask_unit: self.mask_unit,
            mask_bias: self.mask_bias,
            target_layers: vec![LAYER.to_string()],
            freeze_base: false,
            ..CircuitConfig::default()
        })
    }

    pub(super) fn constants(&self) -> HardConcrete {
        let default = HardConcrete::default();
        HardConcrete {
            left_stretch: self.left_stretch.unwrap_or(default.left_stretch),
            right_stretch: self.right_stretch.unwrap_or(default.right_stretch),
            temperature: self.temperature.unwrap_or(default.temperature),
        }
    }

    /// A setting of a convolution with one value per kernel axis. A single value applies to all axes.
    fn axes<const N: usize>(
        &self,
        name: &str,
        given: Option<&Vec<usize>>,
        default: usize,
    ) -> Result<[usize; N], CircuitError> {
        match given.map(Vec::as_slice) {
            None => Ok([default; N]),
            Some([one]) => Ok([*one; N]),
            Some(many) => <[usize; N]>::try_from(many)
                .map_err(|_| invalid(format!("{name} must have {N} entries, found {many:?}"))),
        }
    }
}

/// The checked geometry of a convolution.
pub(super) struct Geometry<const N: usize> {
    pub(super) kernel: [usize; N],
    pub(super) stride: [usize; N],
    pub(super) padding: [usize; N],
    pub(super) dilation: [usize; N],
    pub(super) groups: usize,
    /// Shape of the output.
    pub(super) output: Vec<usize>,
}

impl<const N: usize> Geometry<N> {
    /// Computes and checks the geometry for the shapes `weight` `[out, in/groups, k…]` and `x` `[batch, in, …]`, both
    /// of rank N + 2.
    pub(super) fn new(case: &MaskCase, weight: &[usize], x: &[usize]) -> Result<Self, CircuitError> {
        let kernel = case.axes("the weight's kernel", Some(&weight[2..].to_vec()), 1)?;
        let stride: [usize; N] = case.axes("stride", case.stride.as_ref(), 1)?;
        let padding: [usize; N] = case.axes("padding", case.padding.as_ref(), 0)?;
        let dilation: [usize; N] = case.axes("dilation", case.dilation.as_ref(), 1)?;
        let groups = case.groups.unwrap_or(1);
        if groups == 0 || !weight[0].is_multiple_of(groups) || x[1] != weight[1] * groups {
            return Err(invalid(format!(
                "{groups} groups do not fit a weight of shape {weight:?} and x of shape {x:?}"
            )));
        }
        if stride.contains(&0) || dilation.contains(&0) {
            return Err(invalid("stride and dilation must be at least 1".into()));
        }
        let mut output = vec![x[0], weight[0]];
        for axis in 0..N {
            let padded = x[axis + 2] + 2 * padding[axis];
            let extent = dilation[axis] * (kernel[axis] - 1) + 1;
            let last_start = padded.checked_sub(extent).ok_or_else(|| {
                invalid(format!("a kernel of extent {extent} does not fit {padded} padded positions"))
            })?;
            output.push(last_start / stride[axis] + 1);
        }
        Ok(Self { kernel, stride, padding, dilation, groups, output })
    }
}

/// The values and the shape of a tensor of the case.
pub(super) fn floats(tensors: &Tensors, name: &str) -> Result<(Vec<f32>, Vec<usize>), CircuitError> {
    let data = tensors.get(name).ok_or_else(|| CircuitError::MissingTensor {
        name: name.to_string(),
        nearest: crate::names::nearest(name, tensors.keys().map(String::as_str)),
    })?;
    let values = data
        .try_to_vec_as()
        .map_err(|source| CircuitError::InvalidValues { name: name.to_string(), message: source.to_string() })?;
    Ok((values, data.shape().as_slice().to_vec()))
}

pub(super) fn expect_shape(name: &str, expected: &[usize], found: &[usize]) -> Result<(), CircuitError> {
    if expected == found {
        return Ok(());
    }
    Err(CircuitError::ShapeMismatch { name: name.to_string(), expected: expected.to_vec(), found: found.to_vec() })
}

pub(super) fn invalid(message: String) -> CircuitError {
    CircuitError::InvalidCase { message }
}
