//! Removing hidden units of MLPs that masks left dead.
//!
//! Of `output(act(input(x)))`, a unit is dead when the weights into it are all 0, for then it is `act(bias)` whatever
//! the input, or when the weights out of it are all 0.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::{CircuitModel, MaskUnit};
use ns_models::{Activation, AnyModel, LayerKind, MaskableLayer, MlpLayout};

use super::CircuitFileError;

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Field of `config.json` with the number of hidden units.
    pub field: &'static str,
    /// Their number before.
    pub before: usize,
    /// Their number now.
    pub after: usize,
    /// Block by block.
    pub mlps: Vec<CompactedMlp>,
}

/// The MLP of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactedMlp {
    /// The layer onto the hidden units.
    pub layer: String,
    /// Units that are alive; the others that it has now are zeros.
    pub alive: usize,
}

type Tensors = BTreeMap<String, TensorData>;

/// Checks that removing hidden units is what makes the masked model smaller.
///
/// # Errors
/// [`CircuitFileError::CannotCompact`] for a mask whose units are not an MLP's hidden units.
pub(super) fn check_masks(circuit: &CircuitModel<AnyModel>, mlps: &MlpLayout) -> Result<(), CircuitFileError> {
    let is_in = |layer: &str, place: usize| mlps.blocks.iter().any(|block| block[place].name == layer);
    let neurons = circuit.config().mask_unit == MaskUnit::Neuron;
    for layer in circuit.layers().into_iter().map(|layer| layer.name) {
        let reason = match (is_in(&layer, 0), is_in(&layer, 1)) {
            (true, _) => continue,
            (_, true) if !neurons => continue,
            (_, true) => {
                "its units are dimensions of the residual stream, to which every block adds: none can be removed"
            }
            _ => {
                "it is no layer of an MLP: what it gives is split into heads or added to the residual stream, whose \
                 sizes residual connections fix"
            }
        };
        return Err(CircuitFileError::CannotCompact { layer, reason: reason.into() });
    }
    Ok(())
}

/// Removes the dead units of every block.
///
/// # Errors
/// [`CircuitFileError::NothingToRemove`], [`CircuitFileError::CannotCompact`] for an output without a bias that would
/// need one.
pub(super) fn compact(tensors: &mut Tensors, mlps: &MlpLayout) -> Result<Compaction, CircuitFileError> {
    let blocks: Vec<Mlp> = mlps.blocks.iter().map(|block| Mlp::read(block, tensors)).collect::<Result<_, _>>()?;
    let alive: Vec<Vec<usize>> = blocks.iter().map(Mlp::alive).collect();
    let before = blocks.iter().map(|mlp| mlp.width).max().unwrap_or_default();
    let (largest, needed) = alive.iter().map(Vec::len).enumerate().max_by_key(|(_, n)| *n).unwrap_or_default();
    let after = needed.max(1);
    if after >= before {
        let layer = mlps.blocks[largest][0].name.clone();
        return Err(CircuitFileError::NothingToRemove { layer, width: before, field: mlps.width_field });
    }
    for (mlp, alive) in blocks.iter().zip(&alive) {
        mlp.write(alive, after, mlps.activation, tensors)?;
    }
    let compacted = |(mlp, alive): (&Mlp, &Vec<usize>)| CompactedMlp { layer: mlp.input.into(), alive: alive.len() };
    let mlps_now = blocks.iter().zip(&alive).map(compacted).collect();
    Ok(Compaction { field: mlps.width_field, before, after, mlps: mlps_now })
}

/// An MLP's weights by hidden unit, and where they are from.
struct Mlp<'a> {
    input: &'a str,
    output: &'a str,
    kinds: [LayerKind; 2],
    width: usize,
    /// Weights into each unit.
    incoming: Vec<Vec<f32>>,
    /// Weights out of each unit.
    outgoing: Vec<Vec<f32>>,
    /// The units' bias, if there is one.
    bias: Option<Vec<f32>>,
}

impl<'a> Mlp<'a> {
    fn read([input, output]: &'a [MaskableLayer; 2], tensors: &Tensors) -> Result<Self, CircuitFileError> {
        let weight = |layer: &MaskableLayer| {
            tensors.get(&format!("{}.weight", layer.name)).ok_or_else(|| CircuitFileError::CannotCompact {
                layer: layer.name.clone(),
                reason: "the checkpoint has no such weight".into(),
            })
        };
        // By unit: rows of a linear layer into the units, columns of one out of them; the other way round in a Conv1D.
        let incoming = rows(weight(input)?, input.kind != LayerKind::Linear);
        let outgoing = rows(weight(output)?, output.kind == LayerKind::Linear);
        let bias = tensors.get(&format!("{}.bias", input.name)).map(|data| data.iter::<f32>().collect());
        let (input_name, output_name) = (input.name.as_str(), output.name.as_str());
        let (kinds, width) = ([input.kind, output.kind], incoming.len());
        Ok(Self { input: input_name, output: output_name, kinds, width, incoming, outgoing, bias })
    }

    /// The units that are not dead.
    fn alive(&self) -> Vec<usize> {
        let any = |weights: &[f32]| weights.iter().any(|weight| *weight != 0.0);
        (0..self.width).filter(|unit| any(&self.incoming[*unit]) && any(&self.outgoing[*unit])).collect()
    }

    /// Puts the matrices of `alive` units back, filled up to `width`, and what the others gave into the bias.
    fn write(
        &self,
        alive: &[usize],
        width: usize,
        activation: Activation,
        tensors: &mut Tensors,
    ) -> Result<(), CircuitFileError> {
        self.fold(alive, activation, tensors)?;
        let [incoming, outgoing] = [&self.incoming, &self.outgoing].map(|units| filled(units, alive, width));
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

    /// Adds what the dead units give, `act(bias) · w`, to the output's bias.
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
                reason: format!("its dead units give constants, and `{}` has no bias to hold them", self.output),
            });
        };
        let folded: Vec<f32> = bias.iter::<f32>().zip(&sum).map(|(b, s)| (f64::from(b) + s) as f32).collect();
        tensors.insert(name, TensorData::new(folded, [sum.len()]));
        Ok(())
    }

    /// What each unit gives when nothing comes in.
    fn constants(&self, activation: Activation) -> Vec<f32> {
        let bias = self.bias.clone().unwrap_or_else(|| vec![0.0; self.width]);
        let bias = Tensor::<1>::from_data(TensorData::new(bias, [self.width]), &Device::default());
        activation.forward(bias).into_data().iter::<f32>().collect()
    }
}

/// The rows of a matrix, or its columns.
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

/// The chosen rows, then rows of zeros up to `width`.
fn filled(units: &[Vec<f32>], chosen: &[usize], width: usize) -> Vec<Vec<f32>> {
    let mut kept: Vec<Vec<f32>> = chosen.iter().map(|unit| units[*unit].clone()).collect();
    kept.resize(width, vec![0.0; units.first().map_or(0, Vec::len)]);
    kept
}

/// A matrix with these rows, or columns.
fn matrix(units: &[Vec<f32>], columns: bool) -> TensorData {
    let (n_units, n_others) = (units.len(), units.first().map_or(0, Vec::len));
    match columns {
        false => TensorData::new(units.concat(), [n_units, n_others]),
        true => {
            let values: Vec<f32> = (0..n_others).flat_map(|place| units.iter().map(move |unit| unit[place])).collect();
            TensorData::new(values, [n_others, n_units])
        }
    }
}
