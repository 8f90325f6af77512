//! Training of the probe of one run, with its controls.

use ns_circuit::{CircuitConfig, save_masks};
use ns_models::{Site, Sublayer, save_tensors};
use ns_probe::{CircuitProbeConfig, Probe, SubnetworkProbeConfig};
use serde::Serialize;

use super::base_model_pool::BaseModelPool;
use super::behaviour;
use super::job::{Job, TrainingReport};
use super::learner::Outcome;
use super::memory::Memory;
use super::objective::ProbeObjective;
use super::probe_measures::MeasuredSets;
use super::probe_training::ProbeTraining;
use super::probes::{CLASSIFIER, MASKS, Probes, Variant};
use super::trainer::Trainer;
use crate::data::Examples;
use crate::error::TrainError;
use crate::evaluate::{LabelScale, Row};
use crate::recipe::{Kind, Recipe};
use crate::run::{Interrupt, Metrics, Run};

/// A run whose examples and model are loaded.
pub(super) struct ProbeRun<'a> {
    job: &'a Job,
    probes: Probes<'a>,
}

/// A trained probe.
struct Trained<P: Probe> {
    trainer: Trainer<ProbeObjective<P>>,
    metrics: Vec<Metrics>,
}

/// The configuration of a probe, with the scale of the labels of a regression.
#[derive(Serialize)]
struct ScaledConfig {
    #[serde(flatten)]
    probe: SubnetworkProbeConfig,
    #[serde(flatten)]
    scale: Option<LabelScale>,
}

/// The recipe of a variant, as its folder holds it.
#[derive(Serialize)]
struct VariantRecipe<'a> {
    /// Whether the labels are shuffled.
    shuffled: bool,
    #[serde(flatten)]
    recipe: &'a Recipe,
}

impl<'a> ProbeRun<'a> {
    /// Loads the model and checks the probed site. `recipe` has resolved paths.
    pub(super) fn new(
        job: &'a Job,
        recipe: Recipe,
        examples: Examples,
        pool: &'a BaseModelPool,
    ) -> Result<Self, TrainError> {
        let probes = Probes::new(recipe, examples, pool)?;
        // Answers that the model does not have are an error before training starts.
        probes.answers(MeasuredSets::All)?;
        // And so are ablations that the masks do not allow.
        match probes.recipe.kind {
            Kind::CircuitProbe => {
                behaviour::check_ablations(&probes.recipe, probes.circuit_trainer(Variant::default())?.0.circuit())?;
            }
            Kind::SubnetworkProbe => {
                behaviour::check_ablations(&probes.recipe, probes.classifier_trainer(Variant::default())?.0.circuit())?;
            }
            _ => {}
        }
        Ok(Self { job, probes })
    }

    /// The circuit probe of the run before its first step, without its controls.
    pub(super) fn circuit_probe(&self) -> Result<ProbeTraining, TrainError> {
        Ok(self.probes.circuit_trainer(Variant::default())?.0)
    }

    /// What is trained and the memory that it needs, in two lines.
    pub(super) fn summary(&self) -> Result<String, TrainError> {
        let ((steps, weights), memory) = match self.probes.recipe.kind {
            Kind::CircuitProbe => self.size(&self.probes.circuit_trainer(Variant::default())?.0)?,
            _ => self.size(&self.probes.classifier_trainer(Variant::default())?.0)?,
        };
        Ok(format!(
            "{} of {} at {} in {}, {} epochs of {steps} steps, {weights} maskable weights\n  memory: {memory}",
            self.probes.recipe.kind.name(),
            self.probes.recipe.data.label.as_deref().unwrap_or_default(),
            self.probes.probe.vectors,
            self.job.recipe.model_name(),
            self.probes.recipe.training.epochs,
        ))
    }

    /// Trains the probe and its controls, and evaluates them. Returns `None` if the run was interrupted.
    pub(super) fn train(&self, interrupt: &Interrupt) -> Result<Option<(Vec<Row>, TrainingReport)>, TrainError> {
        match self.probes.recipe.kind {
            Kind::CircuitProbe => self.train_circuit_probe(interrupt),
            _ => self.train_classifiers(interrupt),
        }
    }

    /// Trains on the labels and, if the recipe asks for it, again on shuffled labels. `train` is told whether to shuffle.
    /// Returns `None` if a training was interrupted.
    fn with_control<T>(
        &self,
        train: impl Fn(bool) -> Result<Option<T>, TrainError>,
    ) -> Result<Option<(T, Option<T>)>, TrainError> {
        let Some(real) = train(false)? else { return Ok(None) };
        if !self.probes.recipe.has_shuffled_control() {
            return Ok(Some((real, None)));
        }
        Ok(train(true)?.map(|shuffled| (real, Some(shuffled))))
    }

    fn train_circuit_probe(&self, interrupt: &Interrupt) -> Result<Option<(Vec<Row>, TrainingReport)>, TrainError> {
        let train = |shuffled| {
            let variant = Variant { plain: false, shuffled };
            let (trainer, config) = self.probes.circuit_trainer(variant)?;
            self.train_variant(trainer, variant, interrupt, |probe, circuit| CircuitProbeConfig {
                resid_config: config.resid_config.named_for(probe.base()),
                circuit_config: circuit,
                ..config
            })
        };
        let Some((mut real, shuffled)) = self.with_control(train)? else { return Ok(None) };
        let mut shuffled = shuffled.map(|shuffled| shuffled.trainer);
        let measures = self.probes.measure_circuit_probe(&mut real.trainer, shuffled.as_mut(), MeasuredSets::All)?;
        let row = Row { measures, ..self.row(&self.job.name) };
        Ok(Some((vec![row], real.report())))
    }

    fn train_classifiers(&self, interrupt: &Interrupt) -> Result<Option<(Vec<Row>, TrainingReport)>, TrainError> {
        let Some((row, report)) = self.train_classifier(&self.job.name, false, interrupt)? else { return Ok(None) };
        let mut rows = vec![row];
        if self.probes.recipe.kind == Kind::SubnetworkProbe && self.probes.recipe.has_plain_control() {
            let name = format!("{}-plain", self.job.name);
            let Some((row, _)) = self.train_classifier(&name, true, interrupt)? else { return Ok(None) };
            rows.push(row);
        }
        Ok(Some((rows, report)))
    }

    /// Trains a subnetwork or linear probe, with its control on shuffled labels.
    fn train_classifier(
        &self,
        name: &str,
        plain: bool,
        interrupt: &Interrupt,
    ) -> Result<Option<(Row, TrainingReport)>, TrainError> {
        let train = |shuffled| {
            let variant = Variant { plain, shuffled };
            let (trainer, config) = self.probes.classifier_trainer(variant)?;
            let trained = self.train_variant(trainer, variant, interrupt, |probe, circuit| {
                let resid_config = config.resid_config.named_for(probe.base());
                let probe = SubnetworkProbeConfig { resid_config, circuit_config: circuit, ..config };
                ScaledConfig { probe, scale: self.probes.label_scale() }
            })?;
            if let Some(trained) = &trained {
                let path = variant.folder(&self.job.folder).join(CLASSIFIER);
                save_tensors(path, &trained.trainer.module.probe_params())?;
            }
            Ok(trained)
        };
        let Some((mut real, shuffled)) = self.with_control(train)? else { return Ok(None) };
        let mut shuffled = shuffled.map(|shuffled| shuffled.trainer);
        let measures = self.probes.measure_classifier(&mut real.trainer, shuffled.as_mut(), MeasuredSets::All)?;
        let row = Row { measures, ..self.row(name) };
        Ok(Some((row, real.report())))
    }

    fn row(&self, name: &str) -> Row {
        let (layer, block) = match self.probes.site {
            Site::Block { layer, sublayer: Sublayer::Attn, .. } => (Some(layer), Some("attn")),
            Site::Block { layer, sublayer: Sublayer::Mlp, .. } => (Some(layer), Some("mlp")),
            Site::Embeddings => (None, None),
        };
        Row {
            run: name.into(),
            site: Some(self.probes.probe.vectors.clone()),
            layer,
            block: block.map(Into::into),
            ..self.job.row(&self.probes.examples)
        }
    }

    /// Trains a probe in the folder of its variant, and writes its masks and its configuration, which `config` makes
    /// from the circuit. Returns `None` if the run was interrupted.
    fn train_variant<P: Probe, C: Serialize>(
        &self,
        mut trainer: Trainer<ProbeObjective<P>>,
        variant: Variant,
        interrupt: &Interrupt,
        config: impl FnOnce(&ns_circuit::CircuitModel<P::Base>, CircuitConfig) -> C,
    ) -> Result<Option<Trained<P>>, TrainError> {
        let folder = variant.folder(&self.job.folder);
        let recipe = self.recipe_of(variant);
        let run = match variant.shuffled {
            true => Run::open_seeded(&folder, &VariantRecipe { shuffled: true, recipe: &recipe })?,
            false => Run::open_seeded(&folder, &recipe)?,
        };
        let label = variant.parts().fold(self.job.name.clone(), |label, part| format!("{label}, {part}"));
        let (outcome, metrics) = trainer.train(&run, label, interrupt)?;
        if outcome != Outcome::Finished {
            return Ok(None);
        }
        let circuit = trainer.circuit();
        if !circuit.layers().is_empty() {
            save_masks(run.path(MASKS), circuit)?;
        }
        run.write_json("probe_config.json", &config(circuit, circuit.config().clone()))?;
        Ok(Some(Trained { trainer, metrics }))
    }

    /// A plain probe is a linear probe.
    fn recipe_of(&self, variant: Variant) -> Recipe {
        match variant.plain {
            true => Recipe { kind: Kind::LinearProbe, circuit_config: None, ..self.probes.recipe.clone() },
            false => self.probes.recipe.clone(),
        }
    }

    /// Steps of an epoch, number of maskable weights, and the memory of training.
    fn size<P: Probe>(&self, trainer: &Trainer<ProbeObjective<P>>) -> Result<((usize, usize), Memory), TrainError> {
        let sizes = (trainer.steps_per_epoch(), trainer.circuit().l0().max_weights);
        Ok((sizes, Memory::of_probe(trainer, self.probes.site)?))
    }
}

impl<P: Probe> Trained<P> {
    fn report(self) -> TrainingReport {
        TrainingReport { metrics: self.metrics, layers: self.trainer.circuit().l0().layers }
    }
}
