//! Replaced outputs of linear layers, for forward passes that start from frozen activations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use ns_models::{Columns, Hook, LinearHook, Positions, Site, Transformer, last_unaffected, layers_fed_by};

use super::edit::{Replacement, invalid};
use super::fixed_products::FixedProducts;
use super::site::{ActivationSite, ModelActivations, Place};
use crate::error::ProbeError;

/// The outputs of linear layers in the blocks of a model, and the values that may replace those of some units.
///
/// [`run_edited`](crate::run_edited) does the same in a whole forward pass. This is for forward passes of a
/// [`ProbePlan`](crate::ProbePlan), which may start in the middle of a model and compute its last block at some positions
/// only.
#[derive(Clone, Debug)]
pub struct OutputReplacements {
    layers: BTreeMap<String, (ParamId, usize)>,
    /// Weights of the layers that come before all others.
    first: Arc<BTreeSet<ParamId>>,
    device: Device,
}

impl OutputReplacements {
    /// The outputs of the given layers (Hugging Face names).
    ///
    /// # Errors
    /// Returns [`ProbeError::Activation`] for a layer that is not a linear layer in a block.
    pub fn new<M: Transformer>(model: &M, layers: &[String]) -> Result<Self, ProbeError> {
        let activations = ModelActivations::new(model);
        let place = |name: &String| {
            let site = ActivationSite::Layer(name.clone());
            match (activations.place(&site)?, activations.width(&site)?) {
                (Place::Output(id), width) => Ok((name.clone(), (id, width))),
                _ => Err(ProbeError::Activation { asked: name.clone(), reason: "it is not a layer".into() }),
            }
        };
        let places: BTreeMap<String, (ParamId, usize)> = layers.iter().map(place).collect::<Result<_, _>>()?;
        let last = model.sites().into_iter().max().unwrap_or(Site::Embeddings);
        let start = last_unaffected(model, layers, last);
        let first = start.map_or_else(Vec::new, |start| layers_fed_by(model, layers, start));
        let first = first.iter().filter_map(|name| places.get(name)).map(|(id, _)| *id).collect();
        Ok(Self { layers: places, first: Arc::new(first), device: model.device() })
    }

    /// Products for the forward passes on one batch, none of them computed yet.
    pub fn fixed_products(&self) -> FixedProducts {
        FixedProducts::new(self.first.clone())
    }

    /// Returns the hook of a forward pass in which the outputs of some units are replaced. `kept` are the units of each
    /// layer that are not; `values` are the values of each layer. A layer that is in only one of them is not changed.
    /// `narrowed` are the positions at which the last block is computed, if these are not all. `fixed` are the products of
    /// the forward passes on this batch.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] for values that are not as wide as their layer.
    pub fn hook(
        &self,
        kept: &BTreeMap<String, Vec<usize>>,
        values: &BTreeMap<String, Replacement>,
        narrowed: Option<Positions>,
        fixed: &FixedProducts,
    ) -> Result<Hook, ProbeError> {
        let mut layers = BTreeMap::new();
        for (name, (id, width)) in &self.layers {
            let (Some(units), Some(values)) = (kept.get(name), values.get(name)) else { continue };
            if units.len() == *width {
                continue;
            }
            layers.insert(*id, Replaced::new(*width, units, values, &self.device)?);
        }
        let replaced = ReplacedOutputs { layers, narrowed, fixed: fixed.clone() };
        Ok((!replaced.layers.is_empty()).then(|| Arc::new(replaced) as Arc<dyn LinearHook>))
    }
}

/// The outputs of a layer after the replacement are `output ⊙ kept + values ⊙ (1 − kept)`.
#[derive(Debug)]
struct Replaced {
    /// 1 for units that are not replaced, 0 for the others, `[width]`.
    kept: Tensor<1>,
    /// The new values, `[1 or batch, 1 or seq, width]`; `None` for 0.
    values: Option<Tensor<3>>,
}

impl Replaced {
    fn new(width: usize, units: &[usize], values: &Replacement, device: &Device) -> Result<Self, ProbeError> {
        let mut kept = vec![0.0; width];
        for unit in units {
            match kept.get_mut(*unit) {
                Some(kept) => *kept = 1.0,
                None => return Err(invalid("unit", unit.to_string(), format!("the layer has {width} units"))),
            }
        }
        let values = match values {
            Replacement::Zero => None,
            Replacement::Vector(vector) => Some(vector.clone().unsqueeze::<3>()),
            Replacement::ByPosition(vectors) => Some(vectors.clone().unsqueeze::<3>()),
            Replacement::ByToken(vectors) => Some(vectors.clone()),
        };
        if let Some(found) = values.as_ref().map(Tensor::dims).filter(|dims| dims[2] != width) {
            return Err(invalid("replacement", format!("{found:?}"), format!("the layer has {width} outputs")));
        }
        let kept = Tensor::<1>::from_data(TensorData::new(kept, [width]), device);
        Ok(Self { kept, values })
    }
}

#[derive(Debug)]
struct ReplacedOutputs {
    layers: BTreeMap<ParamId, Replaced>,
    narrowed: Option<Positions>,
    fixed: FixedProducts,
}

impl LinearHook for ReplacedOutputs {
    fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
        self.fixed.product(weight, columns, x)
    }

    fn output(&self, weight: &Param<Tensor<2>>, columns: &Columns, output: Tensor<3>) -> Tensor<3> {
        let Some(Replaced { kept, values }) = self.layers.get(&weight.id) else { return output };
        let kept = columns.select_vector(kept.clone());
        let output = times_row(output, kept.clone());
        let Some(values) = values.clone() else { return output };
        let [batch, positions, width] = output.dims();
        let values = self.at_positions(values, [batch, positions]);
        let [rows, seq, all] = values.dims();
        let added = columns.select(values.reshape([rows * seq, all])) * (kept * -1.0 + 1.0).unsqueeze();
        // A row that is added to each row of a matrix is faster than a sum of three dimensions that differ.
        let sum = match (rows, seq) {
            (1, 1) => output.reshape([batch * positions, width]) + added,
            (1, _) => output.reshape([batch, positions * width]) + added.reshape([1, seq * width]),
            _ => output.reshape([batch, positions * width]) + added.reshape([batch, seq * width]),
        };
        sum.reshape([batch, positions, width])
    }
}

impl ReplacedOutputs {
    /// The values at the positions that a block computes: a narrowed block computes fewer positions than there are tokens.
    fn at_positions(&self, values: Tensor<3>, [batch, positions]: [usize; 2]) -> Tensor<3> {
        let [_, seq, width] = values.dims();
        match &self.narrowed {
            Some(Positions::Span(span)) if seq > positions => values.slice_dim(1, span.clone()),
            Some(chosen) if seq > positions => chosen.select(values.expand([batch, seq, width])),
            _ => values,
        }
    }
}

/// Multiplies each vector by a row, `[width]`.
fn times_row(values: Tensor<3>, row: Tensor<1>) -> Tensor<3> {
    let [batch, seq, width] = values.dims();
    (values.reshape([batch * seq, width]) * row.unsqueeze()).reshape([batch, seq, width])
}
