//! Gradients of a scalar with respect to masks on the outputs of linear layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Param, ParamId};
use burn::tensor::{Gradients, Tensor};
use ns_models::{Columns, Hook, LinearHook, ModelInputs, ModelOutput, Transformer};

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
/// Returns the errors of [`TrackedMasks::new`] and of `objective`, and
/// [`ModelError::InvalidInput`](ns_models::ModelError::InvalidInput) for inputs that do not fit the model.
pub fn mask_gradients<M: Transformer>(
    model: &M,
    inputs: &ModelInputs,
    masks: &MaskGradients,
    objective: impl FnOnce(ModelOutput) -> Result<Tensor<1>, ProbeError>,
) -> Result<(f64, BTreeMap<String, Vec<f32>>), ProbeError> {
    let model = model.clone().no_grad();
    let tracked = TrackedMasks::new(&model, masks)?;
    let objective = objective(model.forward_with(inputs, tracked.hook())?)?;
    Ok((objective.clone().into_data().iter::<f64>().sum(), tracked.gradients(&objective.backward())))
}

/// Masks of [`MaskGradients`] whose gradients are tracked. [`mask_gradients`] uses them in a whole forward pass; this is
/// for forward passes that the caller runs with [`Self::hook`]. The weights of the model should be frozen (`no_grad`).
#[derive(Clone, Debug)]
pub struct TrackedMasks {
    masks: BTreeMap<String, (ParamId, Tensor<1>)>,
    with_bias: bool,
}

impl TrackedMasks {
    /// Creates a mask for each layer.
    ///
    /// # Errors
    /// Returns [`ProbeError::Activation`] for a layer that is not a linear layer in a block, and [`ProbeError::Config`] if
    /// the model is on a device without autodiff.
    pub fn new<M: Transformer>(model: &M, masks: &MaskGradients) -> Result<Self, ProbeError> {
        check_autodiff(model)?;
        let (activations, device) = (ModelActivations::new(model), model.device());
        let leaf = |layer: &String| {
            let site = ActivationSite::Layer(layer.clone());
            let (Place::Output(id), width) = (activations.place(&site)?, activations.width(&site)?) else {
                return Err(ProbeError::Activation { asked: layer.clone(), reason: "it is not a layer".into() });
            };
            Ok((layer.clone(), (id, Tensor::full([width], masks.value, &device).require_grad())))
        };
        let leaves = masks.layers.iter().map(leaf).collect::<Result<_, _>>()?;
        Ok(Self { masks: leaves, with_bias: masks.with_bias })
    }

    /// The hook of a forward pass with these masks.
    pub fn hook(&self) -> Hook {
        let masks = self.masks.values().map(|(id, leaf)| (*id, leaf.clone())).collect();
        Some(Arc::new(MaskHook { masks, with_bias: self.with_bias }))
    }

    /// The gradients of each layer, `[outputs]`, on the host; 0 for a mask that the objective does not depend on.
    pub fn gradients(&self, gradients: &Gradients) -> BTreeMap<String, Vec<f32>> {
        let gradient = |(layer, (_, leaf)): (&String, &(ParamId, Tensor<1>))| {
            let gradient = leaf.grad(gradients).map(|gradient| gradient.into_data().iter::<f32>().collect());
            (layer.clone(), gradient.unwrap_or_else(|| vec![0.0; leaf.dims()[0]]))
        };
        self.masks.iter().map(gradient).collect()
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
