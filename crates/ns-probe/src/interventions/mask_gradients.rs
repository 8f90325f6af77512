//! Gradients of a scalar with respect to masks on the outputs of linear layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor};
use ns_models::{Columns, LinearHook, ModelInputs, ModelOutput, Transformer};

use super::gradients::check_autodiff;
use super::site::{ActivationSite, ModelActivations, Place};
use crate::error::ProbeError;

/// Masks on the outputs of linear layers in the blocks, one entry for each output, all with the same value.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskGradients {
    /// Hugging Face names of the layers.
    pub layers: Vec<String>,
    /// The value of all mask entries, 1 for the whole model and 0 for no layer at all.
    pub value: f64,
    /// Whether the mask covers the bias: `m ⊙ (W x + b)` in place of `m ⊙ W x + b`.
    pub with_bias: bool,
}

/// Runs a forward pass with masks and differentiates `objective`, a scalar of its output, with respect to the mask
/// entries. Returns the value of the objective and the gradients of each layer, `[outputs]`, on the host.
///
/// With masks at 1 the gradient estimates, to first order, how much the objective falls without a unit. Its mean over
/// values from 0 to 1 is an integrated gradient (Sundararajan et al. 2017) along the path that scales all masks together.
///
/// # Errors
/// Returns [`ProbeError::Activation`] for a layer that is not a linear layer in a block, [`ProbeError::Config`] if the
/// model is on a device without autodiff, the errors of `objective`, and
/// [`ModelError::InvalidInput`](ns_models::ModelError::InvalidInput) for inputs that do not fit the model.
pub fn mask_gradients<M: Transformer>(
    model: &M,
    inputs: &ModelInputs,
    masks: &MaskGradients,
    objective: impl FnOnce(ModelOutput) -> Result<Tensor<1>, ProbeError>,
) -> Result<(f64, BTreeMap<String, Vec<f32>>), ProbeError> {
    check_autodiff(model)?;
    let model = model.clone().no_grad();
    let leaves = masks.leaves(&ModelActivations::new(&model), &model.device())?;
    let by_id = leaves.values().map(|(id, leaf)| (*id, leaf.clone())).collect();
    let hook = MaskHook { masks: by_id, with_bias: masks.with_bias };
    let objective = objective(model.forward_with(inputs, Some(Arc::new(hook)))?)?;
    let value = objective.clone().into_data().iter::<f64>().sum();
    let gradients = objective.backward();
    let gradient = |(layer, (_, leaf)): (String, (ParamId, Tensor<1>))| {
        let gradient = leaf.grad(&gradients).map(|gradient| gradient.into_data().iter::<f32>().collect());
        (layer, gradient.unwrap_or_else(|| vec![0.0; leaf.dims()[0]]))
    };
    Ok((value, leaves.into_iter().map(gradient).collect()))
}

impl MaskGradients {
    /// A mask for each layer, with the id of the layer's weight.
    fn leaves(
        &self,
        activations: &ModelActivations,
        device: &Device,
    ) -> Result<BTreeMap<String, (ParamId, Tensor<1>)>, ProbeError> {
        let leaf = |layer: &String| {
            let site = ActivationSite::Layer(layer.clone());
            let (Place::Output(id), width) = (activations.place(&site)?, activations.width(&site)?) else {
                return Err(ProbeError::Activation { asked: layer.clone(), reason: "it is not a layer".into() });
            };
            Ok((layer.clone(), (id, Tensor::full([width], self.value, device).require_grad())))
        };
        self.layers.iter().map(leaf).collect()
    }
}

/// Scales the outputs of linear layers.
#[derive(Debug)]
struct MaskHook {
    masks: BTreeMap<ParamId, Tensor<1>>,
    with_bias: bool,
}

impl LinearHook for MaskHook {
    fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
        let mask = self.masks.get(&weight.id).filter(|_| !self.with_bias)?;
        let product = columns.product(x.clone(), weight.val());
        Some(product * columns.select_vector(mask.clone()).unsqueeze())
    }

    fn output(&self, weight: &Param<Tensor<2>>, columns: &Columns, output: Tensor<3>) -> Tensor<3> {
        match self.masks.get(&weight.id).filter(|_| self.with_bias) {
            Some(mask) => output * columns.select_vector(mask.clone()).unsqueeze(),
            None => output,
        }
    }
}
