//! The results of attention heads: how a forward pass records and replaces them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;
use ns_models::LinearHook;
use ns_probe::HeadInput;

/// Records the results of heads.
#[derive(Debug)]
pub(super) struct RecordHeads {
    layers: BTreeMap<ParamId, usize>,
    values: Mutex<BTreeMap<usize, Tensor<3>>>,
}

impl RecordHeads {
    pub(super) fn new(inputs: &BTreeMap<usize, HeadInput>) -> Self {
        let layers = inputs.iter().map(|(layer, input)| (input.weight, *layer)).collect();
        Self { layers, values: Mutex::default() }
    }

    /// The recorded values by layer, `[batch, seq, width]`.
    pub(super) fn values(&self) -> BTreeMap<usize, Tensor<3>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl LinearHook for RecordHeads {
    fn input(&self, weight: &Param<Tensor<2>>, x: Tensor<3>) -> Tensor<3> {
        if let Some(layer) = self.layers.get(&weight.id) {
            self.values.lock().unwrap_or_else(PoisonError::into_inner).insert(*layer, x.clone());
        }
        x
    }
}

/// Replaces the result of one head at all positions.
#[derive(Debug)]
pub(super) struct PatchHead {
    pub(super) weight: ParamId,
    pub(super) columns: Range<usize>,
    /// The results of all heads in another run, `[batch, seq, width]`.
    pub(super) values: Tensor<3>,
}

impl LinearHook for PatchHead {
    fn input(&self, weight: &Param<Tensor<2>>, x: Tensor<3>) -> Tensor<3> {
        if weight.id != self.weight {
            return x;
        }
        let [batch, seq, _] = x.dims();
        let target = [0..batch, 0..seq, self.columns.clone()];
        x.slice_assign(target.clone(), self.values.clone().slice(target))
    }
}
