//! The circuit model: any Burn module with masks on chosen layers.

use std::sync::Arc;

use burn::module::{Flag, Module, Param, ParamGroup};
use burn::tensor::{Gradients, Tensor};

use crate::ablation::ModelVariant;
use crate::attach::{Attach, Prune};
use crate::build::build_layouts;
use crate::config::CircuitConfig;
use crate::error::CircuitError;
use crate::l0::{self, L0Statistics};
use crate::layout::{ParamLayout, Role};
use crate::mask::{Mask, Settings, new_flag};
use crate::methods::hard_concrete::HardConcrete;
use crate::methods::{Method, initial_logit};
use crate::patterns::expand_layers;
use crate::target::{LayerKind, MaskTarget, parameters};

/// Any Burn module with learned binary masks over the parameters of chosen layers.
///
/// The wrapped model runs as before, but each masked parameter is multiplied by its mask. The mask parameters are
/// ordinary Burn parameters, so optimisers, records and device transfers include them.
///
/// # Modes
/// `train()` and `valid()` of [`Module`] switch between training and evaluation. In training, masks are soft, except
/// for magnitude pruning and for frozen mask parameters. In evaluation, masks are hard, and the [`ModelVariant`] may be
/// an ablation. A model that is built on a device without autodiff starts in evaluation mode.
///
/// # Clones
/// Clones, including the copies that `valid()` and `train()` return, start with the settings of the original: the
/// temperature, the variant and its sample, the on/off switches, the seed and the step. A later change affects one copy
/// only, so copies may be used on different threads.
#[derive(Module, Debug)]
pub struct CircuitModel<M: Module> {
    /// The base model.
    wrapped_model: M,
    /// The masks, in the order of the target layers, each weight before its bias.
    pub(crate) masks: Vec<Mask>,
    training: Param<Flag>,
    #[module(skip)]
    pub(crate) config: Arc<CircuitConfig>,
    #[module(skip)]
    pub(crate) settings: Settings,
}

/// The losses of one batch.
#[derive(Debug, Clone)]
pub struct Losses {
    /// The loss that is minimised, `[1]`. In training mode it includes `l0_lambda · L0` if `add_l0` is set.
    pub total: Tensor<1>,
    /// The loss without the L0 term, `[1]`.
    pub without_l0: Tensor<1>,
}

impl Losses {
    /// Computes the gradients of `total`.
    ///
    /// # Errors
    /// Returns [`CircuitError::NoGradient`] if the loss does not depend on any trainable parameter: without autodiff,
    /// in evaluation mode, if all masks are frozen, and without an L0 term also if all masks are off or the whole model
    /// runs.
    pub fn backward(&self) -> Result<Gradients, CircuitError> {
        if self.total.is_tracked() { Ok(self.total.backward()) } else { Err(CircuitError::NoGradient) }
    }
}

/// A masked layer, with shapes in Hugging Face's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedLayer {
    /// Name of the layer.
    pub name: String,
    /// Kind of the layer.
    pub kind: LayerKind,
    /// Shape of the weight.
    pub weight_shape: Vec<usize>,
    /// Shape of the mask parameters of the weight; broadcasts to `weight_shape`.
    pub weight_mask_shape: Vec<usize>,
    /// Shape of the bias and of its mask parameters; `None` if the bias is not masked.
    pub bias_mask_shape: Option<Vec<usize>>,
}

impl MaskedLayer {
    /// Whether the bias of the layer is masked.
    pub fn has_bias_mask(&self) -> bool {
        self.bias_mask_shape.is_some()
    }
}

impl<M: Module> CircuitModel<M> {
    /// Masks the layers of `base` that `config.target_layers` selects from `targets`.
    ///
    /// With `config.freeze_base`, all parameters of `base` are frozen. Without target layers, the model equals `base`.
    /// `config.ablation` is the initial ablation of evaluation mode; training ignores it. (The Python NeuroSurgeon
    /// cannot train a model with an ablation.) With `config.mask_bias`, a layer without a bias gets no bias mask, and
    /// a warning is logged.
    ///
    /// # Errors
    /// Returns the errors of [`CircuitConfig::validate`], and for layers that cannot be masked:
    ///
    /// - [`CircuitError::UnknownLayer`] if a name or pattern matches no target
    /// - [`CircuitError::InvalidConfig`] for a pattern with invalid syntax
    /// - [`CircuitError::DuplicateLayer`] if two targets have the same name
    /// - [`CircuitError::ParameterNotFound`] if the module has no parameter at the path of a target
    /// - [`CircuitError::RankMismatch`] if a parameter does not fit the layer kind of its target
    /// - [`CircuitError::SharedParameter`] if two layers share one parameter
    /// - [`CircuitError::AlreadyReparameterized`] if a parameter already has a mask or another reparameterization
    pub fn new(config: CircuitConfig, base: M, targets: &[MaskTarget]) -> Result<Self, CircuitError> {
        Self::with_constants(config, base, targets, HardConcrete::default())
    }

    /// Like [`new`](Self::new), but with other constants of the hard concrete distribution, for golden cases.
    pub(crate) fn with_constants(
        config: CircuitConfig,
        base: M,
        targets: &[MaskTarget],
        constants: HardConcrete,
    ) -> Result<Self, CircuitError> {
        config.validate()?;
        let target_layers = expand_layers(&config.target_layers, targets.iter().map(|target| target.name.as_str()))?;
        let config = CircuitConfig { target_layers, ..config };
        let params = parameters(&base);
        let layouts = build_layouts(&config, targets, &params)?;
        let training = params.is_empty() || params.values().any(|param| param.device.is_autodiff());
        let wrapped_model = if config.freeze_base { base.freeze() } else { base };
        let (method, logit) = (Method::new(&config.mask_method, constants), initial_logit(&config.mask_method));
        let settings = Settings {
            temperature: 1.0,
            variant: config.ablation.map_or(ModelVariant::CircuitOnly, ModelVariant::Ablated),
            is_configured: true,
            sample: 0,
            seed: 0,
            epoch: 0,
            step: 0,
        };
        let mask = |layout: ParamLayout| {
            let device = params.get(&layout.path).map(|param| param.device.clone()).unwrap_or_default();
            Mask::new(layout, method, logit, training, settings, &device)
        };
        let masks = layouts.into_iter().map(mask).collect();
        Ok(Self { wrapped_model, masks, training: new_flag(training), config: Arc::new(config), settings })
    }

    /// The configuration of the model, with all patterns in `target_layers` expanded to layer names.
    pub fn config(&self) -> &CircuitConfig {
        &self.config
    }

    /// Returns the [variant](Self::variant) of the model that is set, ready to run. It shares its parameters with this
    /// copy, so this is cheap.
    ///
    /// # Errors
    /// Returns [`CircuitError::AblationWhileTraining`] if this copy was put in training mode after its ablation was set,
    /// and [`CircuitError::ComplementTooSmall`] if the ablation has no sample yet and cannot be sampled.
    pub fn model(&self) -> Result<M, CircuitError> {
        self.prepare()?;
        if self.masks.is_empty() || self.settings.variant == ModelVariant::WholeModel {
            return Ok(self.wrapped_model.clone());
        }
        Ok(self.wrapped_model.clone().apply_reparameterization(Attach::new(&self.masks)))
    }

    /// Returns another variant of the model, ready to run, in the mode of this copy. This copy is unchanged.
    ///
    /// An ablation is sampled with the seed and the sample number of this copy. In training mode, the whole model has
    /// no gradients if the base is frozen.
    ///
    /// # Errors
    /// Returns the errors of [`set_variant`](Self::set_variant).
    pub fn model_as(&self, variant: ModelVariant) -> Result<M, CircuitError> {
        if variant == ModelVariant::WholeModel {
            return Ok(self.wrapped_model.clone());
        }
        let mut copy = Self {
            wrapped_model: self.wrapped_model.clone(),
            masks: self.pruned_masks().to_vec(),
            training: self.training.clone(),
            config: self.config.clone(),
            settings: self.settings,
        };
        copy.set_variant(variant)?;
        copy.model()
    }

    /// Returns the circuit as a plain module without masks: the weights are multiplied by the hard masks, and the
    /// ablation that is set is applied.
    ///
    /// The result is in evaluation mode. Its `train()` returns a trainable copy, in which the parameters that were
    /// frozen in the base are still frozen.
    ///
    /// # Errors
    /// Returns [`CircuitError::ComplementTooSmall`] if the ablation has no sample yet and cannot be sampled.
    pub fn materialize_circuit(&self) -> Result<M, CircuitError> {
        let evaluation = Self {
            wrapped_model: self.wrapped_model.valid(),
            masks: self.masks.valid(),
            training: self.training.valid(),
            config: self.config.clone(),
            settings: self.settings,
        };
        Ok(evaluation.model()?.materialize())
    }

    /// The base model without masks, in the mode of this copy. Its `valid()` returns it in evaluation mode.
    pub fn base(&self) -> &M {
        &self.wrapped_model
    }

    /// Whether the model is in training mode.
    pub fn is_training(&self) -> bool {
        self.training.is_enabled()
    }

    /// The size of the circuit: the numbers of weights and of mask entries that its hard masks keep. It does not depend
    /// on the mode or the variant.
    pub fn l0(&self) -> L0Statistics {
        l0::statistics(self.pruned_masks())
    }

    /// The training L0, summed over all masks, shape `[1]`. It is differentiable for trainable masks. For magnitude
    /// pruning, it is the constant size of the circuit.
    pub fn l0_training(&self) -> Tensor<1> {
        let device = self.wrapped_model.devices().into_iter().next().unwrap_or_default();
        let terms = self.pruned_masks().iter().map(|mask| l0::training_term(mask, &device));
        terms.reduce(|sum, term| sum + term).unwrap_or_else(|| Tensor::zeros([1], &device))
    }

    /// The L0 term of the loss, `l0_lambda · L0`, shape `[1]`. Returns `None` in evaluation mode, without `add_l0`, and
    /// without masks.
    pub fn l0_loss(&self) -> Option<Tensor<1>> {
        let has_l0_term = self.is_training() && self.config.add_l0 && !self.masks.is_empty();
        has_l0_term.then(|| self.l0_training().mul_scalar(self.config.l0_lambda))
    }

    /// Adds the [L0 term](Self::l0_loss) to a loss, `[1]`.
    pub fn with_l0(&self, without_l0: Tensor<1>) -> Losses {
        let total = match self.l0_loss() {
            Some(l0) => without_l0.clone() + l0,
            None => without_l0.clone(),
        };
        Losses { total, without_l0 }
    }

    /// The masked layers, in the order of `target_layers`.
    pub fn layers(&self) -> Vec<MaskedLayer> {
        let bias_of = |weight: &ParamLayout| {
            let layouts = self.masks.iter().map(|mask| &mask.layout);
            layouts.clone().find(|param| param.role == Role::Bias && param.layer == weight.layer).cloned()
        };
        let layer = |weight: &ParamLayout| MaskedLayer {
            name: weight.layer.clone(),
            kind: weight.kind,
            weight_shape: weight.hf_shape(),
            weight_mask_shape: weight.hf_mask_shape(),
            bias_mask_shape: bias_of(weight).map(|bias| bias.hf_mask_shape()),
        };
        self.weights().map(layer).collect()
    }

    /// The masked weights, in the order of `target_layers`.
    pub(crate) fn weights(&self) -> impl Iterator<Item = &ParamLayout> {
        self.masks.iter().map(|mask| &*mask.layout).filter(|param| param.role == Role::Weight)
    }

    /// The parameter group of the masks, without the base weights. A checkpoint of a model with a frozen base needs
    /// only this group.
    pub fn mask_parameters(&self) -> ParamGroup {
        ParamGroup::ids_from_module(self.masks.clone())
    }

    /// Checks the mode, and computes what the masks need: noise, samples of the ablation, pruned weights.
    pub(crate) fn prepare(&self) -> Result<(), CircuitError> {
        self.check_mode(self.variant())?;
        for mask in self.pruned_masks().iter().filter(|mask| mask.needs_noise()) {
            mask.noise();
        }
        self.masks.iter().try_for_each(Mask::sample_if_missing)
    }

    /// The masks. Those of magnitude pruning are computed.
    pub(crate) fn pruned_masks(&self) -> &[Mask] {
        if self.masks.iter().any(Mask::lacks_pruning) {
            self.wrapped_model.visit(&mut Prune { masks: &self.masks, path: Vec::new() });
        }
        &self.masks
    }
}

#[cfg(test)]
mod tests;
