//! Shapes and layouts of masked parameters, in Hugging Face's files and in Burn ("storage order").
//!
//! They differ only for the weight of a linear layer: it is `[out, in]` in files and `[in, out]` in Burn.

use std::collections::BTreeSet;

use burn::tensor::TensorData;

use crate::config::MaskUnit;
use crate::error::CircuitError;
use crate::hard_mask::HardMask;
use crate::kernels::MaskBroadcast;
use crate::names;
use crate::target::LayerKind;

/// The role of a masked parameter in its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Weight,
    Bias,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
        }
    }
}

/// A masked parameter: its names, shapes and other facts that never change.
#[derive(Debug, Clone)]
pub(crate) struct ParamLayout {
    /// Name of the layer.
    pub(crate) layer: String,
    /// Kind of the layer.
    pub(crate) kind: LayerKind,
    /// Role of the parameter in the layer.
    pub(crate) role: Role,
    /// Path of the parameter in the module.
    pub(crate) path: String,
    /// Shape of the parameter in Burn.
    pub(crate) shape: Vec<usize>,
    /// Shape of the mask in Burn; broadcasts to `shape`.
    pub(crate) mask_shape: Vec<usize>,
    /// Number of inputs to one output unit of the layer.
    pub(crate) fan_in: usize,
}

impl ParamLayout {
    /// Creates the masked weight of a layer. `shape` is its shape in Burn.
    pub(crate) fn weight(layer: &str, kind: LayerKind, path: String, shape: Vec<usize>, unit: MaskUnit) -> Self {
        let mut mask_shape = shape.clone();
        let input_axis = match kind {
            LayerKind::Linear | LayerKind::GptConv1d => 0,
            LayerKind::Conv1d | LayerKind::Conv2d => 1,
        };
        if unit == MaskUnit::Neuron {
            mask_shape[input_axis] = 1;
        }
        let fan_in = match kind {
            LayerKind::Linear | LayerKind::GptConv1d => shape[0],
            LayerKind::Conv1d | LayerKind::Conv2d => shape[1..].iter().product(),
        };
        Self { layer: layer.to_string(), kind, role: Role::Weight, path, shape, mask_shape, fan_in }
    }

    /// Creates the masked bias that belongs to `weight`.
    pub(crate) fn bias(weight: &Self, path: String, shape: Vec<usize>) -> Self {
        Self { role: Role::Bias, path, mask_shape: shape.clone(), shape, ..weight.clone() }
    }

    /// `<layer>.weight` or `<layer>.bias`.
    pub(crate) fn key(&self) -> String {
        format!("{}.{}", self.layer, self.role.name())
    }

    /// Number of entries of the parameter.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of entries of the mask.
    pub(crate) fn mask_len(&self) -> usize {
        self.mask_shape.iter().product()
    }

    /// Number of parameter entries that one mask entry covers.
    pub(crate) fn repeat(&self) -> usize {
        self.len().checked_div(self.mask_len()).unwrap_or(0)
    }

    /// How the mask broadcasts over the parameter.
    pub(crate) fn mask_broadcast(&self) -> MaskBroadcast {
        let axis = (0..self.shape.len()).find(|i| self.shape[*i] != self.mask_shape[*i]);
        let axis = axis.unwrap_or(self.shape.len());
        MaskBroadcast {
            outer: self.shape[..axis].iter().product(),
            repeat: self.shape.get(axis).copied().unwrap_or(1),
            inner: self.shape.get(axis + 1..).unwrap_or_default().iter().product(),
        }
    }

    /// Whether the mask scales the outputs of a linear layer: each mask entry covers all weights of one output.
    pub(crate) fn scales_outputs(&self) -> bool {
        let linear = matches!(self.kind, LayerKind::Linear | LayerKind::GptConv1d);
        linear && self.role == Role::Weight && self.mask_shape[0] == 1
    }

    /// Shape of the parameter in Hugging Face's layout.
    pub(crate) fn hf_shape(&self) -> Vec<usize> {
        self.hf(&self.shape)
    }

    /// Shape of the mask parameters in Hugging Face's layout.
    pub(crate) fn hf_mask_shape(&self) -> Vec<usize> {
        self.hf(&self.mask_shape)
    }

    /// Converts values with the shape of the mask from storage order to Hugging Face's layout.
    pub(crate) fn mask_to_hf(&self, values: Vec<f32>) -> TensorData {
        let values = self.to_hf_order(values, &self.mask_shape);
        TensorData::new(values, self.hf_mask_shape())
    }

    /// Converts mask values in storage order to a hard mask in Hugging Face's layout. Nonzero values are kept.
    pub(crate) fn hard_mask(&self, values: Vec<f32>) -> HardMask {
        let values = self.to_hf_order(values, &self.mask_shape);
        let kept = values.into_iter().map(|value| value != 0.0).collect();
        HardMask::new_unchecked(self.hf_shape(), self.hf_mask_shape(), kept)
    }

    /// Broadcasts a mask in storage order over the parameter, and converts it to Hugging Face's layout.
    pub(crate) fn broadcast_to_hf(&self, mask: &[f32]) -> TensorData {
        let values = self.to_hf_order(self.broadcast(mask), &self.shape);
        TensorData::new(values, self.hf_shape())
    }

    /// The output units of a weight of which a mask in storage order keeps at least one entry.
    pub(crate) fn kept_units(&self, mask: &[f32]) -> Vec<usize> {
        let axis = match self.kind {
            LayerKind::Linear | LayerKind::GptConv1d => 1,
            LayerKind::Conv1d | LayerKind::Conv2d => 0,
        };
        let (units, inner) = (self.mask_shape[axis], self.mask_shape[axis + 1..].iter().product::<usize>().max(1));
        let kept = mask.iter().enumerate().filter(|(_, value)| **value != 0.0);
        let kept: BTreeSet<usize> = kept.map(|(entry, _)| entry / inner % units).collect();
        kept.into_iter().collect()
    }

    /// Converts values with the shape of the mask from Hugging Face's layout to `f32` in storage order.
    ///
    /// # Errors
    /// Returns [`CircuitError::ShapeMismatch`] for a wrong shape, and [`CircuitError::InvalidValues`] for values that
    /// are NaN or cannot be read as floats. Both name the tensor as `name`.
    pub(crate) fn mask_from_hf(&self, name: &str, data: &TensorData) -> Result<Vec<f32>, CircuitError> {
        let (expected, found) = (self.hf_mask_shape(), data.shape().as_slice());
        if found != expected {
            return Err(CircuitError::ShapeMismatch { name: name.to_string(), expected, found: found.to_vec() });
        }
        let values: Vec<f32> = data
            .try_to_vec_as()
            .map_err(|source| CircuitError::InvalidValues { name: name.to_string(), message: source.to_string() })?;
        if values.iter().any(|value| value.is_nan()) {
            return Err(CircuitError::InvalidValues {
                name: name.to_string(),
                message: "has NaN values; mask values must be numbers".to_string(),
            });
        }
        Ok(match (self.transposed(), expected.as_slice()) {
            (true, [rows, columns]) => transpose(&values, *rows, *columns),
            _ => values,
        })
    }

    /// Repeats `mask` over the shape of the parameter, both in storage order.
    fn broadcast(&self, mask: &[f32]) -> Vec<f32> {
        let Some(axis) = (0..self.shape.len()).find(|i| self.shape[*i] != self.mask_shape[*i]) else {
            return mask.to_vec();
        };
        let inner: usize = self.shape[axis + 1..].iter().product();
        mask.chunks(inner.max(1))
            .flat_map(|block| std::iter::repeat_n(block, self.shape[axis]).flatten())
            .copied()
            .collect()
    }

    /// Whether Burn stores the parameter transposed.
    fn transposed(&self) -> bool {
        self.kind == LayerKind::Linear && self.role == Role::Weight
    }

    /// A shape in Burn, converted to Hugging Face's layout.
    fn hf(&self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if self.transposed() {
            shape.reverse();
        }
        shape
    }

    fn to_hf_order(&self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match (self.transposed(), shape) {
            (true, [rows, columns]) => transpose(&values, *rows, *columns),
            _ => values,
        }
    }
}

/// The index of `name` in `keys`.
///
/// # Errors
/// Returns [`CircuitError::UnexpectedTensor`] with the most similar keys if `name` is not among them.
pub(crate) fn position(keys: &[String], name: &str) -> Result<usize, CircuitError> {
    keys.iter().position(|key| key == name).ok_or_else(|| CircuitError::UnexpectedTensor {
        name: name.to_string(),
        nearest: names::nearest(name, keys.iter().map(String::as_str)),
    })
}

/// The transpose of a row-major `[rows, columns]` matrix.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| values[row * columns + column]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(kind: LayerKind, shape: &[usize], unit: MaskUnit) -> ParamLayout {
        ParamLayout::weight("l", kind, "l.weight".into(), shape.to_vec(), unit)
    }

    fn values(data: &TensorData) -> Vec<f32> {
        data.try_to_vec().unwrap()
    }

    #[test]
    fn only_a_linear_weight_is_transposed() {
        let stored = vec![1., 2., 3., 4., 5., 6.]; // [in = 2, out = 3]
        let linear = param(LayerKind::Linear, &[2, 3], MaskUnit::Weight);
        let out = linear.mask_to_hf(stored.clone());
        assert_eq!(out.shape().as_slice(), [3, 2]);
        assert_eq!(values(&out), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(linear.mask_from_hf("l", &out).unwrap(), stored);

        let gpt = param(LayerKind::GptConv1d, &[2, 3], MaskUnit::Weight);
        assert_eq!(values(&gpt.mask_to_hf(stored.clone())), stored);
        let bias = ParamLayout::bias(&linear, "l.bias".into(), vec![3]);
        assert_eq!(bias.hf_mask_shape(), [3]);
        assert_eq!(bias.key(), "l.bias");
        assert_eq!(bias.fan_in, 2);
    }

    #[test]
    fn neuron_shapes_are_those_of_the_reference() {
        let shape = |kind, stored: &[usize]| param(kind, stored, MaskUnit::Neuron).hf_mask_shape();
        assert_eq!(shape(LayerKind::Linear, &[4, 3]), [3, 1]);
        assert_eq!(shape(LayerKind::GptConv1d, &[4, 3]), [1, 3]);
        assert_eq!(shape(LayerKind::Conv1d, &[3, 4, 5]), [3, 1, 5]);
        assert_eq!(shape(LayerKind::Conv2d, &[3, 4, 5, 6]), [3, 1, 5, 6]);
    }

    #[test]
    fn neuron_masks_broadcast_over_inputs() {
        let linear = param(LayerKind::Linear, &[2, 3], MaskUnit::Neuron);
        assert_eq!(linear.repeat(), 2);
        let full = linear.broadcast_to_hf(&[1., 0., 1.]);
        assert_eq!(values(&full), [1., 1., 0., 0., 1., 1.]);

        let conv = param(LayerKind::Conv1d, &[2, 2, 3], MaskUnit::Neuron);
        let full = conv.broadcast_to_hf(&[1., 2., 3., 4., 5., 6.]);
        assert_eq!(values(&full), [1., 2., 3., 1., 2., 3., 4., 5., 6., 4., 5., 6.]);
        assert_eq!(linear.mask_broadcast(), MaskBroadcast { outer: 1, repeat: 2, inner: 3 });
        assert_eq!(conv.mask_broadcast(), MaskBroadcast { outer: 2, repeat: 2, inner: 3 });
        let single = param(LayerKind::Conv1d, &[2, 2, 3], MaskUnit::Weight);
        assert_eq!(single.mask_broadcast(), MaskBroadcast { outer: 12, repeat: 1, inner: 1 });
    }

    #[test]
    fn kept_units_are_outputs_in_every_layout() {
        let linear = param(LayerKind::Linear, &[2, 3], MaskUnit::Weight); // [in, out]
        assert_eq!(linear.kept_units(&[0., 1., 0., 0., 1., 1.]), [1, 2]);
        let gpt = param(LayerKind::GptConv1d, &[2, 3], MaskUnit::Neuron);
        assert_eq!(gpt.kept_units(&[1., 0., 1.]), [0, 2]);
        let conv = param(LayerKind::Conv1d, &[3, 2, 2], MaskUnit::Neuron); // [out, in, k], masked by [out, 1, k]
        assert_eq!(conv.kept_units(&[0., 0., 0., 1., 0., 0.]), [1]);
        assert!(conv.kept_units(&[0.; 6]).is_empty());
    }

    #[test]
    fn misshapen_and_nan_values_are_named() {
        let linear = param(LayerKind::Linear, &[2, 3], MaskUnit::Weight);
        let wrong = TensorData::new(vec![0_f32; 6], [2, 3]);
        let error = linear.mask_from_hf("l.weight_mask_params", &wrong);
        assert!(matches!(
            error,
            Err(CircuitError::ShapeMismatch { expected, found, .. })
                if expected == [3, 2] && found == [2, 3]
        ));
        let nan = TensorData::new(vec![f32::NAN; 6], [3, 2]);
        let error = linear.mask_from_hf("l.weight_mask_params", &nan);
        assert!(matches!(error, Err(CircuitError::InvalidValues { .. })));
    }
}
