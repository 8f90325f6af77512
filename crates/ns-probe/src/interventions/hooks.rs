//! Functions that a forward pass calls with the values of activations.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;
use ns_models::{Columns, Flow, Hook, LinearHook, ModelInputs, ModelOutput, Observer, Site, Transformer};

use super::site::{ActivationSite, ModelActivations, Place};
use crate::error::ProbeError;

/// A function of the value of an activation.
type Function = Arc<dyn Fn(Tensor<3>) -> Tensor<3> + Send + Sync>;

/// Functions that a forward pass calls with the values of activations, `[batch, seq, width]`. Each returns the value with
/// which the forward pass goes on.
///
/// ```
/// use burn::tensor::Device;
/// use ns_models::{Gpt2, Gpt2Config, ModelInputs, Pretrained};
/// use ns_probe::Hooks;
///
/// let device = Device::default();
/// let config = Gpt2Config { vocab_size: 10, n_embd: 8, n_layer: 1, n_head: 2, n_positions: 4, ..Default::default() };
/// let model = Gpt2::init(&config, &device)?;
/// let inputs = ModelInputs::from_ids(&[[1, 9, 4]], &device);
/// // Zero ablation of the MLP of block 0.
/// let hooks = Hooks::new().at("mlp_update_0".parse()?, |value| value * 0.0);
/// let logits = hooks.run(&model, &inputs)?.logits;
/// # Ok::<(), ns_probe::ProbeError>(())
/// ```
#[derive(Clone, Default)]
pub struct Hooks {
    at: Vec<(ActivationSite, Function)>,
}

impl Hooks {
    /// No functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function at a site. Functions at one site are called in the order in which they are added, each with the
    /// result of the one before it.
    pub fn at(
        mut self,
        site: ActivationSite,
        function: impl Fn(Tensor<3>) -> Tensor<3> + Send + Sync + 'static,
    ) -> Self {
        self.at.push((site, Arc::new(function)));
        self
    }

    /// Runs a forward pass of `model` with these functions.
    ///
    /// # Errors
    /// Returns [`ProbeError::Activation`] for a site that the model does not have, and
    /// [`ModelError::InvalidInput`](ns_models::ModelError::InvalidInput) for inputs that do not fit the model.
    pub fn run<M: Transformer>(&self, model: &M, inputs: &ModelInputs) -> Result<ModelOutput, ProbeError> {
        let mut located = self.locate(model)?;
        Ok(model.walk_with(inputs, located.hook(), &mut located.stream)?.output()?)
    }

    /// Finds where the forward pass of a model calls the functions.
    fn locate<M: Transformer>(&self, model: &M) -> Result<Located, ProbeError> {
        let activations = ModelActivations::new(model);
        let mut located = Located::default();
        for (site, function) in &self.at {
            match activations.place(site)? {
                Place::Residual(site) => located.stream.0.push((site, function.clone())),
                Place::Input(weight) => located.linear.inputs.entry(weight).or_default().push(function.clone()),
                Place::Output(weight) => located.linear.outputs.entry(weight).or_default().push(function.clone()),
            }
        }
        Ok(located)
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.at.iter().map(|(site, _)| site)).finish()
    }
}

/// Functions by the place where a forward pass calls them.
#[derive(Default)]
struct Located {
    stream: StreamHook,
    linear: LayerHook,
}

impl Located {
    fn hook(&mut self) -> Hook {
        let linear = std::mem::take(&mut self.linear);
        (!linear.inputs.is_empty() || !linear.outputs.is_empty()).then(|| Arc::new(linear) as Arc<dyn LinearHook>)
    }
}

/// Functions at sites of the residual stream.
#[derive(Default)]
struct StreamHook(Vec<(Site, Function)>);

impl Observer for StreamHook {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Flow {
        let here = self.0.iter().filter(|(at, _)| *at == site);
        ControlFlow::Continue(here.fold(value, |value, (_, function)| function(value)))
    }
}

/// Functions at inputs and outputs of linear layers.
#[derive(Default)]
struct LayerHook {
    inputs: BTreeMap<ParamId, Vec<Function>>,
    outputs: BTreeMap<ParamId, Vec<Function>>,
}

impl fmt::Debug for LayerHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerHook").field("inputs", &self.inputs.keys()).field("outputs", &self.outputs.keys()).finish()
    }
}

impl LinearHook for LayerHook {
    fn input(&self, weight: &Param<Tensor<2>>, x: Tensor<3>) -> Tensor<3> {
        self.inputs.get(&weight.id).into_iter().flatten().fold(x, |x, function| function(x))
    }

    // No forward pass that these hooks run narrows a block, so the columns are all columns.
    fn output(&self, weight: &Param<Tensor<2>>, _columns: &Columns, output: Tensor<3>) -> Tensor<3> {
        self.outputs.get(&weight.id).into_iter().flatten().fold(output, |output, function| function(output))
    }
}
