//! The probes of a run: the probe of its recipe and the controls, each with its masks, its examples and its folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ns_circuit::CircuitConfig;
use ns_models::{AnyTransformer, Site, layers_of_site};
use ns_probe::{
    ActivationCache, CircuitProbe, CircuitProbeConfig, Labeling, Probe, ResidualUpdateModelConfig, SubnetworkProbe,
    SubnetworkProbeConfig,
};

use super::base_model::{base_model, model_config, site};
use super::base_model_pool::BaseModelPool;
use super::behaviour;
use super::objective::ProbeObjective;
use super::probe_measures::MeasuredSets;
use super::probe_training::{ProbeTraining, SubnetworkTraining};
use super::trainer::Trainer;
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::evaluate::{Answers, LabelScale};
use crate::recipe::{BehaviourSection, ProbeSection, Recipe};

/// The mask parameters in the folder of a probe.
pub(super) const MASKS: &str = "masks.safetensors";
/// The parameters of the classifier in the folder of a subnetwork or linear probe.
pub(super) const CLASSIFIER: &str = "classifier.safetensors";

/// The probes of a run, with its examples and its model.
pub(super) struct Probes<'a> {
    /// The recipe with resolved paths.
    pub(super) recipe: Recipe,
    pub(super) probe: ProbeSection,
    pub(super) site: Site,
    pub(super) examples: Examples,
    pub(super) pool: &'a BaseModelPool,
    pub(super) model: AnyTransformer,
    activations: ActivationCache,
}

/// One of the probes of a run.
#[derive(Clone, Copy, Default)]
pub(super) struct Variant {
    /// Without the masks of the recipe.
    pub(super) plain: bool,
    /// On shuffled labels.
    pub(super) shuffled: bool,
}

impl Variant {
    /// What distinguishes it from the probe of the recipe.
    pub(super) fn parts(self) -> impl Iterator<Item = &'static str> {
        [("plain", self.plain), ("shuffled", self.shuffled)].into_iter().filter(|part| part.1).map(|(name, _)| name)
    }

    /// Its folder in the folder of the run.
    pub(super) fn folder(self, run: &Path) -> PathBuf {
        self.parts().fold(run.to_owned(), |folder, part| folder.join(part))
    }
}

impl<'a> Probes<'a> {
    /// Loads the model and checks the probed site. `recipe` has resolved paths.
    pub(super) fn new(recipe: Recipe, examples: Examples, pool: &'a BaseModelPool) -> Result<Self, TrainError> {
        let (model, activations) = base_model(pool, &recipe)?;
        let site = site(&recipe, &model)?;
        let probe = recipe.probe.clone();
        let probe = probe.ok_or_else(|| TrainError::setting("probe", "missing", "a probe needs it"))?;
        Ok(Self { recipe, probe, site, examples, pool, model, activations })
    }

    /// What the behaviour is measured on; `None` if the recipe measures none.
    ///
    /// # Errors
    /// Returns the errors of [`behaviour::answers`].
    pub(super) fn answers(&self, measured: MeasuredSets) -> Result<Option<(BehaviourSection, Answers)>, TrainError> {
        let Some(section) = behaviour::section(&self.recipe, measured) else { return Ok(None) };
        let answers = behaviour::answers(self.pool, &self.recipe, &self.model, &model_config(&self.recipe)?)?;
        behaviour::check_sets(&section, &answers)?;
        Ok(Some((section, answers)))
    }

    /// A circuit probe that is not trained yet, and its configuration.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if the masks do not fit the model, and the errors of [`Trainer::for_probe`].
    pub(super) fn circuit_trainer(&self, variant: Variant) -> Result<(ProbeTraining, CircuitProbeConfig), TrainError> {
        let config = CircuitProbeConfig {
            probe_vectors: self.probe.vectors.clone(),
            circuit_config: self.circuit_config(variant),
            resid_config: ResidualUpdateModelConfig::from_site(self.site)?,
            loss: self.probe.loss,
        };
        let probe = CircuitProbe::new(config.clone(), self.model.clone())?;
        Ok((self.trainer(probe, variant)?, config))
    }

    /// A subnetwork or linear probe that is not trained yet, and its configuration.
    ///
    /// # Errors
    /// Returns those of [`Self::circuit_trainer`].
    pub(super) fn classifier_trainer(
        &self,
        variant: Variant,
    ) -> Result<(SubnetworkTraining, SubnetworkProbeConfig), TrainError> {
        let (rows, scale) = (self.examples.rows(), self.label_scale());
        let config = SubnetworkProbeConfig {
            probe_vectors: self.probe.vectors.clone(),
            n_classes: if scale.is_some() { 1 } else { rows.n_answers },
            circuit_config: self.circuit_config(variant),
            resid_config: ResidualUpdateModelConfig::from_site(self.site)?,
            intermediate_size: self.probe.hidden.map_or(-1, |hidden| hidden as i64),
            labeling: if rows.ends.is_empty() { Labeling::Sequence } else { Labeling::Token },
        };
        let (model, seed) = (self.model.clone(), self.recipe.seed);
        let probe = match scale {
            Some(scale) => SubnetworkProbe::for_numbers(config.clone(), scale.standardised(), model, seed)?,
            None => SubnetworkProbe::new(config.clone(), model, seed)?,
        };
        Ok((self.trainer(probe, variant)?, config))
    }

    /// The scale of the labels of a regression; `None` for classes.
    pub(super) fn label_scale(&self) -> Option<LabelScale> {
        self.recipe.data.numeric.then(|| LabelScale::of(&self.examples))
    }

    fn trainer<P: Probe>(&self, probe: P, variant: Variant) -> Result<Trainer<ProbeObjective<P>>, TrainError> {
        let seed = self.recipe.seed;
        let examples = if variant.shuffled { self.examples.shuffled(seed) } else { self.examples.clone() };
        let device = self.pool.device().clone().autodiff();
        let schedule = self.recipe.training.schedule(self.recipe.kind);
        Trainer::for_probe(probe, self.activations.another(), Arc::new(examples), schedule, seed, device)
    }

    /// The masks of a variant. The target `site` stands for the layers of the sublayer that writes to the probed site.
    fn circuit_config(&self, variant: Variant) -> CircuitConfig {
        let given = self.recipe.circuit_config.clone().filter(|_| !variant.plain);
        let without_masks = CircuitConfig { target_layers: Vec::new(), add_l0: false, ..CircuitConfig::default() };
        let mut config = given.unwrap_or(without_masks);
        if config.target_layers == ["site"] {
            config.target_layers = layers_of_site(&self.model, self.site);
        }
        config
    }
}
