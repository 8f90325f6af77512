//! Removal of dead hidden units from MLPs `output(act(input(x)))`.
//!
//! A hidden unit is dead if all weights into it are 0, because it then has the constant value `act(bias)`, or if all
//! weights out of it are 0.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::{CircuitModel, MaskUnit};
use ns_models::{Activation, AnyModel, LayerKind, MaskableLayer, MlpLayers, MlpLayout};

use super::CircuitFileError;

/// Result of removing dead hidden units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Field of `config.json` with the number of hidden units.
    pub field: &'static str,
    /// Number of hidden units per block before the removal.
    pub before: usize,
    /// Number of hidden units per block after the removal.
    pub after: usize,
    /// The MLPs, one per block.
    pub mlps: Vec<CompactedMlp>,
}

/// The compacted MLP of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactedMlp {
    /// HF name of its first linear layer.
    pub layer: String,
    /// Number of units that are alive. The remaining units of the compacted model are zeros.
    pub alive: usize,
}

type Tensors = BTreeMap<String, TensorData>;

/// Checks that every mask can lead to dead hidden units of an MLP, which are the only units that can be removed.
///
/// # Errors
/// Returns [`CircuitFileError::CannotCompact`] for any other mask.
pub(super) fn check_masks(circuit: &CircuitModel<AnyModel>, mlps: &MlpLayout) -> Result<(), CircuitFileError> {
    let is_input = |layer: &str| mlps.blocks.iter().flat_map(|block| &block.inputs).any(|input| input.name == layer);
    let is_output = |layer: &str| mlps.blocks.iter().any(|block| block.output.name == layer);
    let neurons = circuit.config().mask_unit == MaskUnit::Neuron;
    for layer in circuit.layers().into_iter().map(|layer| layer.name) {
        let reason = match (is_input(&layer), is_output(&layer)) {
            (true, _) => continue,
            (_, true) if !neurons => continue,
            (_, true) => {
                "its output units are dimensions of the residual stream, which every block uses, so none can be removed"
            }
            _ => {
                "only hidden units of MLPs can be removed; the width of this layer is fixed by the attention heads, \
                 the residual stream or the task"
            }
        };
        return Err(CircuitFileError::CannotCompact { layer, reason: reason.into() });
    }
    Ok(())
}

/// Removes the dead hidden units of every block from `tensors`.
///
/// # Errors
/// Returns [`CircuitFileError::NothingToRemove`] if some block has no dead units, and
/// [`CircuitFileError::CannotCompact`] if a weight is missing or an output has no bias to add the constants of dead
/// units to.
pub(super) fn compact(tensors: &mut Tensors, mlps: &MlpLayout) -> Result<Compaction, CircuitFileError> {
    let blocks: Vec<Mlp> = mlps.blocks.iter().map(|block| Mlp::read(block, tensors)).collect::<Result<_, _>>()?;
    let alive: Vec<Vec<usize>> = blocks.iter().map(Mlp::alive).collect();
    let before = blocks.iter().map(|mlp| mlp.width).max().unwrap_or_default();
    let (largest, needed) = alive.iter().map(Vec::len).enumerate().max_by_key(|(_, n)| *n).unwrap_or_default();
    let after = needed.max(1);
    if after >= before {
        let layer = blocks[largest].input.into();
        return Err(CircuitFileError::NothingToRemove { layer, width: before, field: mlps.width_field });
    }
    for (mlp, alive) in blocks.iter().zip(&alive) {
        mlp.write(alive, after, mlps.activation, tensors)?;
    }
    let compacted = |(mlp, alive): (&Mlp, &Vec<usize>)| CompactedMlp { layer: mlp.input.into(), alive: alive.len() };
    let mlps_now = blocks.iter().zip(&alive).map(compacted).collect();
    Ok(Compaction { field: mlps.width_field, before, after, mlps: mlps_now })
}

/// The weights of an MLP, sorted by hidden unit.
struct Mlp<'a> {
    /// HF name of the first linear layer.
    input: &'a str,
    /// HF name of the second linear layer.
    output: &'a str,
    /// Kinds of the two layers.
    kinds: [LayerKind; 2],
    /// Number of hidden units.
    width: usize,
    /// Weights into each unit, one row per unit.
    incoming: Vec<Vec<f32>>,
    /// Weights out of each unit, one row per unit.
    outgoing: Vec<Vec<f32>>,
    /// Bias of the units, if the first layer has one.
    bias: Option<Vec<f32>>,
}

impl<'a> Mlp<'a> {
    fn read(MlpLayers { inputs, output }: &'a MlpLayers, tensors: &Tensors) -> Result<Self, CircuitFileError> {
        let [input] = &inputs[..] else {
            let reason = "units of a gated MLP cannot be removed".into();
            return Err(CircuitFileError::CannotCompact { layer: output.name.clone(), reason });
        };
        let weight = |layer: &MaskableLayer| {
            tensors.get(&format!("{}.weight", layer.name)).ok_or_else(|| CircuitFileError::CannotCompact {
                layer: layer.name.clone(),
                reason: "the checkpoint does not contain its weight".into(),
            })
        };
        // A linear layer stores [out, in], so a unit is a row of the first layer and a column of the second. A Conv1D
        // stores [in, out].
        let incoming = rows(weight(input)?, input.kind != LayerKind::Linear);
        let outgoing = rows(weight(output)?, output.kind == LayerKind::Linear);
        let bias = tensors.get(&format!("{}.bias", input.name)).map(|data| data.iter::<f32>().collect());
        let (input_name, output_name) = (input.name.as_str(), output.name.as_str());
        let (kinds, width) = ([input.kind, output.kind], incoming.len());
        Ok(Self { input: input_name, output: output_name, kinds, width, incoming, outgoing, bias })
    }

    /// Indices of the units that are not dead.
    fn alive(&self) -> Vec<usize> {
        let is_nonzero = |weights: &[f32]| weights.iter().any(|weight| *weight != 0.0);
        (0..self.width).filter(|unit| is_nonzero(&self.incoming[*unit]) && is_nonzero(&self.outgoing[*unit])).collect()
    }

    /// Writes the weights of the `alive` units to `tensors`, padded with zeros to `width` units, and adds the constants
    /// of the dead units to the output bias.
    fn write(
        &self,
        alive: &[usize],
        width: usize,
        activation: Activation,
        tensors: &mut Tensors,
    ) -> Result<(), CircuitFileError> {
        self.fold(alive, activation, tensors)?;
        let [incoming, outgoing] = [&self.incoming, &self.outgoing].map(|units| padded(units, alive, width));
        let incoming = matrix(&incoming, self.kinds[0] != LayerKind::Linear);
        let outgoing = matrix(&outgoing, self.kinds[1] == LayerKind::Linear);
        tensors.insert(format!("{}.weight", self.input), incoming);
        tensors.insert(format!("{}.weight", self.output), outgoing);
        if let Some(bias) = &self.bias {
            let mut bias: Vec<f32> = alive.iter().map(|unit| bias[*unit]).collect();
            bias.resize(width, 0.0);
            tensors.insert(format!("{}.bias", self.input), TensorData::new(bias, [width]));
        }
        Ok(())
    }

    /// Adds the constant contribution of the dead units, `act(bias) · w`, to the output bias.
    fn fold(&self, alive: &[usize], activation: Activation, tensors: &mut Tensors) -> Result<(), CircuitFileError> {
        let values = self.constants(activation);
        let mut sum = vec![0.0_f64; self.outgoing.first().map_or(0, Vec::len)];
        for unit in (0..self.width).filter(|unit| alive.binary_search(unit).is_err()) {
            for (total, weight) in sum.iter_mut().zip(&self.outgoing[unit]) {
                *total += f64::from(values[unit]) * f64::from(*weight);
            }
        }
        if sum.iter().all(|value| *value == 0.0) {
            return Ok(());
        }
        let name = format!("{}.bias", self.output);
        let Some(bias) = tensors.get(&name) else {
            return Err(CircuitFileError::CannotCompact {
                layer: self.input.into(),
                reason: format!("its dead units are constants, and `{}` has no bias to add them to", self.output),
            });
        };
        let folded: Vec<f32> = bias.iter::<f32>().zip(&sum).map(|(b, s)| (f64::from(b) + s) as f32).collect();
        tensors.insert(name, TensorData::new(folded, [sum.len()]));
        Ok(())
    }

    /// Value of each unit without input, `act(bias)`, on the default device.
    fn constants(&self, activation: Activation) -> Vec<f32> {
        let bias = self.bias.clone().unwrap_or_else(|| vec![0.0; self.width]);
        let bias = Tensor::<1>::from_data(TensorData::new(bias, [self.width]), &Device::default());
        activation.forward(bias).into_data().iter::<f32>().collect()
    }
}

/// Returns the rows of a matrix, or its columns.
fn rows(data: &TensorData, columns: bool) -> Vec<Vec<f32>> {
    let [n_rows, n_columns] = [data.shape()[0], data.shape()[1]];
    let values: Vec<f32> = data.iter::<f32>().collect();
    match columns {
        false => values.chunks(n_columns.max(1)).map(<[f32]>::to_vec).collect(),
        true => {
            (0..n_columns).map(|column| (0..n_rows).map(|row| values[row * n_columns + column]).collect()).collect()
        }
    }
}

/// Returns the chosen rows, followed by rows of zeros up to `width`.
fn padded(units: &[Vec<f32>], chosen: &[usize], width: usize) -> Vec<Vec<f32>> {
    let mut kept: Vec<Vec<f32>> = chosen.iter().map(|unit| units[*unit].clone()).collect();
    kept.resize(width, vec![0.0; units.first().map_or(0, Vec::len)]);
    kept
}

/// Returns the matrix with these rows, or columns.
fn matrix(units: &[Vec<f32>], columns: bool) -> TensorData {
    let (n_units, n_others) = (units.len(), units.first().map_or(0, Vec::len));
    match columns {
        false => TensorData::new(units.concat(), [n_units, n_others]),
        true => {
            let values: Vec<f32> = (0..n_others).flat_map(|index| units.iter().map(move |unit| unit[index])).collect();
            TensorData::new(values, [n_others, n_units])
        }
    }
}
