//! Gradients of a scalar with respect to activations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;
use ns_models::{ModelInputs, ModelOutput, Transformer};

use super::hooks::Hooks;
use super::site::ActivationSite;
use crate::error::ProbeError;

/// The value of an activation, and the gradient with respect to it. Both are on a device without autodiff.
#[derive(Clone, Debug)]
pub struct ActivationGradient {
    /// The value, `[batch, seq, width]`.
    pub value: Tensor<3>,
    /// The gradient, `[batch, seq, width]`.
    pub gradient: Tensor<3>,
}

/// Runs a forward pass and differentiates `objective`, a scalar of its output, with respect to the activations at
/// `sites`. The functions of `hooks` run first: the gradient at a site is that at the value which they return.
///
/// The weights of the model are frozen. Returns the value of the objective and a gradient for each site; it is zero for
/// an activation that the objective does not depend on.
///
/// # Errors
/// Returns [`ProbeError::Config`] if the model is on a device without autodiff, the errors of `objective`, and those of
/// [`Hooks::run`].
pub fn activation_gradients<M: Transformer>(
    model: &M,
    inputs: &ModelInputs,
    sites: &[ActivationSite],
    hooks: Hooks,
    objective: impl FnOnce(ModelOutput) -> Result<Tensor<1>, ProbeError>,
) -> Result<(f64, BTreeMap<ActivationSite, ActivationGradient>), ProbeError> {
    check_autodiff(model)?;
    let model = model.clone().no_grad();
    let tracked = Tracked::default();
    let hooks = sites.iter().fold(hooks, |hooks, site| {
        let (tracked, key) = (tracked.clone(), site.clone());
        hooks.at(site.clone(), move |value| tracked.track(key.clone(), value))
    });
    let objective = objective(hooks.run(&model, inputs)?)?;
    let value = objective.clone().into_data().iter::<f64>().sum();
    let gradients = objective.backward();
    let tracked = std::mem::take(&mut *tracked.0.lock().unwrap_or_else(PoisonError::into_inner));
    let gradient = |(site, (value, offset)): (ActivationSite, (Tensor<3>, Tensor<3>))| {
        let gradient = offset.grad(&gradients).unwrap_or_else(|| Tensor::zeros(value.dims(), &value.device()));
        (site, ActivationGradient { value, gradient })
    };
    Ok((value, tracked.into_iter().map(gradient).collect()))
}

/// Values of activations without autodiff, and the zeros that were added to them. The gradient with respect to an
/// activation is that with respect to its zeros, which are a leaf of the graph.
#[derive(Clone, Default)]
struct Tracked(Arc<Mutex<BTreeMap<ActivationSite, (Tensor<3>, Tensor<3>)>>>);

impl Tracked {
    fn track(&self, site: ActivationSite, value: Tensor<3>) -> Tensor<3> {
        let offset = Tensor::zeros(value.dims(), &value.device()).require_grad();
        let entry = (value.clone().inner(), offset.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(site, entry);
        value + offset
    }
}

/// Checks that a model is on a device with autodiff.
pub(super) fn check_autodiff<M: Transformer>(model: &M) -> Result<(), ProbeError> {
    match model.device().is_autodiff() {
        true => Ok(()),
        false => Err(ProbeError::Config {
            field: "device",
            found: "one without autodiff".into(),
            expected: "gradients need a model on `device.autodiff()`".into(),
        }),
    }
}
