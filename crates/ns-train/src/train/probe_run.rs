//! Training and evaluation of the probe of one run, with its controls.

use std::sync::Arc;

use ns_circuit::{CircuitConfig, save_masks};
use ns_models::{AnyTransformer, Site, Sublayer, layers_of_site};
use ns_probe::{
    ActivationCache, CircuitProbe, CircuitProbeConfig, Labeling, Probe, ResidualUpdateModelConfig, SubnetworkProbe,
    SubnetworkProbeConfig,
};
use serde::Serialize;

use super::base_model::{base_model, site};
use super::base_model_pool::BaseModelPool;
use super::circuit_probe::ProbeTraining;
use super::job::{Job, TrainingReport};
use super::learner::Outcome;
use super::memory::Memory;
use super::objective::ProbeObjective;
use super::subnetwork_probe::SubnetworkTraining;
use super::trainer::Trainer;
use crate::data::{Dataset, Examples, ModelLimits};
use crate::error::TrainError;
use crate::evaluate::{Measures, Row, SupportSets, TaskAccuracies, mask_init_value, mask_quantiles};
use crate::recipe::grammar::{DataSection, Kind, ProbeSection, Recipe};
use crate::run::{Interrupt, Metrics, Run};

/// A run whose examples and model are loaded.
pub(super) struct ProbeRun<'a> {
    job: &'a Job,
    /// The recipe with resolved paths.
    recipe: Recipe,
    probe: ProbeSection,
    site: Site,
    examples: Examples,
    pool: &'a BaseModelPool,
    model: AnyTransformer,
    activations: ActivationCache,
}

/// One of the probes of a run.
#[derive(Clone, Copy, Default)]
struct Variant {
    /// Without the masks of the recipe.
    plain: bool,
    /// On shuffled labels.
    shuffled: bool,
}

/// A trained probe.
struct Trained<P: Probe> {
    trainer: Trainer<ProbeObjective<P>>,
    metrics: Vec<Metrics>,
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
        let (model, activations) = base_model(pool, &recipe)?;
        let site = site(&recipe, &model)?;
        let probe = recipe.probe.clone();
        let probe = probe.ok_or_else(|| TrainError::setting("probe", "missing", "a probe needs it"))?;
        Ok(Self { job, recipe, probe, site, examples, pool, model, activations })
    }

    /// The recipe with resolved paths.
    pub(super) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What is trained and the memory that it needs, in two lines.
    pub(super) fn summary(&self) -> Result<String, TrainError> {
        let ((steps, weights), memory) = match self.recipe.kind {
            Kind::CircuitProbe => self.size(&self.circuit_trainer(Variant::default())?.0)?,
            _ => self.size(&self.classifier_trainer(Variant::default())?.0)?,
        };
        Ok(format!(
            "{} of {} at {} in {}, {} epochs of {steps} steps, {weights} maskable weights\n  memory: {memory}",
            self.recipe.kind.name(),
            self.recipe.data.label.as_deref().unwrap_or_default(),
            self.probe.vectors,
            self.job.recipe.model_name(),
            self.recipe.training.epochs,
        ))
    }

    /// Trains the probe and its controls, and evaluates them. Returns `None` if the run was interrupted.
    pub(super) fn train(&self, interrupt: &Interrupt) -> Result<Option<(Vec<Row>, TrainingReport)>, TrainError> {
        match self.recipe.kind {
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
        if !self.recipe.has_shuffled_control() {
            return Ok(Some((real, None)));
        }
        Ok(train(true)?.map(|shuffled| (real, Some(shuffled))))
    }

    fn train_circuit_probe(&self, interrupt: &Interrupt) -> Result<Option<(Vec<Row>, TrainingReport)>, TrainError> {
        let train = |shuffled| {
            let variant = Variant { plain: false, shuffled };
            let (trainer, config) = self.circuit_trainer(variant)?;
            self.train_variant(trainer, variant, interrupt, |probe, circuit| CircuitProbeConfig {
                resid_config: config.resid_config.named_for(probe.base()),
                circuit_config: circuit,
                ..config
            })
        };
        let Some((mut real, shuffled)) = self.with_control(train)? else { return Ok(None) };
        let mut row = self.row(&self.job.name);
        self.measure_vectors(&mut real.trainer, shuffled.map(|shuffled| shuffled.trainer), &mut row.measures)?;
        self.measure_sizes(&real.trainer, &mut row.measures);
        let circuit = real.trainer.circuit();
        row.measures.set("mask_init_value", mask_init_value(circuit.config()));
        row.measures.set("mask_quantiles", mask_quantiles(circuit));
        Ok(Some((vec![row], real.report())))
    }

    /// 1-NN accuracies, and for arithmetic the accuracy of the model with the circuit ablated.
    fn measure_vectors(
        &self,
        trainer: &mut ProbeTraining,
        shuffled: Option<ProbeTraining>,
        measures: &mut Measures,
    ) -> Result<(), TrainError> {
        let split = self.examples.split();
        let ProbeSection { support_per_class: per_class, support_draws: draws, .. } = self.probe;
        let support = SupportSets { per_class, draws, seed: self.recipe.seed };
        let others = [("knn_dev", &split.dev), ("knn_ood", &split.ood)];
        let others: Vec<_> = others.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
        let sets: Vec<&[usize]> =
            std::iter::once(&split.test).chain(others.iter().map(|(_, rows)| *rows)).map(|rows| &rows[..]).collect();
        let mut evaluation = trainer.evaluation(support);
        let masked = evaluation.knn(&sets, true)?;
        measures.set("knn_test", masked[0].test_accuracy);
        measures.set("knn_dev", masked[0].dev_accuracy);
        for ((name, _), report) in others.iter().zip(&masked[1..]) {
            measures.set(name, report.test_accuracy);
        }
        measures.set("knn_unmasked", evaluation.knn(&sets[..1], false)?[0].test_accuracy);
        let shuffled =
            shuffled.map(|mut shuffled| Ok::<_, TrainError>(shuffled.evaluation(support).knn(&sets[..1], true)?[0]));
        measures.set("knn_shuffled", shuffled.transpose()?.map(|report| report.test_accuracy));
        self.measure_majority(measures);
        if self.recipe.data.arithmetic.is_some() {
            let answers = DataSection { label: Some("answer".into()), ..self.recipe.data.clone() };
            let answers = Examples::read(&answers, None, ModelLimits::default())?;
            let report = evaluation.ablation(&answers, self.recipe.evaluation.controls)?;
            let TaskAccuracies { full, ablated, random, complement } = TaskAccuracies::new(&report);
            measures.set("acc_full", full);
            measures.set("acc_ablated", ablated);
            measures.set("acc_random_mean", random.map(|controls| controls.accuracy_mean));
            measures.set("acc_random_sd", random.map(|controls| controls.accuracy_sd));
            measures.set("p_random", random.map(|controls| controls.p_value));
            measures.set("acc_complement_mean", complement.map(|controls| controls.accuracy_mean));
            measures.set("acc_complement_sd", complement.map(|controls| controls.accuracy_sd));
        }
        Ok(())
    }

    fn train_classifiers(&self, interrupt: &Interrupt) -> Result<Option<(Vec<Row>, TrainingReport)>, TrainError> {
        let Some((row, report)) = self.train_classifier(&self.job.name, false, interrupt)? else { return Ok(None) };
        let mut rows = vec![row];
        if self.recipe.kind == Kind::SubnetworkProbe && self.recipe.has_plain_control() {
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
            let (trainer, config) = self.classifier_trainer(variant)?;
            self.train_variant(trainer, variant, interrupt, |probe, circuit| SubnetworkProbeConfig {
                resid_config: config.resid_config.named_for(probe.base()),
                circuit_config: circuit,
                ..config
            })
        };
        let Some((mut real, shuffled)) = self.with_control(train)? else { return Ok(None) };
        let mut row = self.row(name);
        let split = self.examples.split();
        let mut predictions = |rows: &[usize]| match rows.is_empty() {
            true => Ok::<_, TrainError>(None),
            false => Ok(Some(real.trainer.predictions(rows)?)),
        };
        let [train, dev, test, ood] = [&split.train, &split.dev, &split.test, &split.ood];
        let (test, dev, train, ood) = (predictions(test)?, predictions(dev)?, predictions(train)?, predictions(ood)?);
        let shuffled = shuffled.map(|mut shuffled| shuffled.trainer.accuracy(&split.test)).transpose()?;
        let measures = &mut row.measures;
        measures.set("probe_test", test.as_ref().map(|test| test.accuracy()));
        measures.set("probe_dev", dev.map(|dev| dev.accuracy()));
        measures.set("probe_train", train.map(|train| train.accuracy()));
        if let Some(ood) = ood {
            measures.set("probe_ood", ood.accuracy());
        }
        measures.set("probe_shuffled", shuffled);
        measures.set("f1_macro_test", test.map(|test| test.f1_macro()));
        self.measure_majority(measures);
        self.measure_sizes(&real.trainer, measures);
        Ok(Some((row, real.report())))
    }

    fn measure_majority(&self, measures: &mut Measures) {
        measures.set("majority", self.examples.rows().train_majority());
        measures.set("majority_test", self.examples.rows().majority());
    }

    /// The size of the circuit; `null` without masks.
    fn measure_sizes<P: Probe>(&self, trainer: &Trainer<ProbeObjective<P>>, measures: &mut Measures) {
        let l0 = trainer.circuit().l0();
        let has_masks = !l0.layers.is_empty();
        measures.set("l0", has_masks.then_some(l0.weights as f64));
        measures.set("l0_max", has_masks.then_some(l0.max_weights as f64));
    }

    fn row(&self, name: &str) -> Row {
        let (layer, block) = match self.site {
            Site::Block { layer, sublayer: Sublayer::Attn, .. } => (Some(layer), Some("attn")),
            Site::Block { layer, sublayer: Sublayer::Mlp, .. } => (Some(layer), Some("mlp")),
            Site::Embeddings => (None, None),
        };
        let labels = |rows: &[usize]| rows.iter().map(|row| self.examples.rows().of(*row).len()).sum();
        let split = self.examples.split();
        Row {
            run: name.into(),
            kind: self.recipe.kind,
            model: self.job.recipe.model_name(),
            data: self.job.recipe.data.name(),
            variable: self.recipe.data.label.clone(),
            site: Some(self.probe.vectors.clone()),
            layer,
            block: block.map(Into::into),
            seed: self.recipe.seed,
            n_train: labels(&split.train),
            n_test: labels(&split.test),
            measures: Measures::default(),
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
        let parts = [("plain", variant.plain), ("shuffled", variant.shuffled)];
        let parts: Vec<&str> = parts.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        let folder = parts.iter().fold(self.job.folder.clone(), |folder, part| folder.join(part));
        let recipe = self.recipe_of(variant);
        let run = match variant.shuffled {
            true => Run::open_seeded(&folder, &VariantRecipe { shuffled: true, recipe: &recipe })?,
            false => Run::open_seeded(&folder, &recipe)?,
        };
        let label = std::iter::once(&*self.job.name).chain(parts).collect::<Vec<_>>().join(", ");
        let (outcome, metrics) = trainer.train_in(&run, label, interrupt)?;
        if outcome != Outcome::Finished {
            return Ok(None);
        }
        let circuit = trainer.circuit();
        if !circuit.layers().is_empty() {
            save_masks(run.path("masks.safetensors"), circuit)?;
        }
        run.write_json("probe_config.json", &config(circuit, circuit.config().clone()))?;
        Ok(Some(Trained { trainer, metrics }))
    }

    /// A plain probe is a linear probe.
    fn recipe_of(&self, variant: Variant) -> Recipe {
        match variant.plain {
            true => Recipe { kind: Kind::LinearProbe, circuit_config: None, ..self.recipe.clone() },
            false => self.recipe.clone(),
        }
    }

    /// Steps of an epoch, number of maskable weights, and the memory of training.
    fn size<P: Probe>(&self, trainer: &Trainer<ProbeObjective<P>>) -> Result<((usize, usize), Memory), TrainError> {
        let sizes = (trainer.steps_per_epoch(), trainer.circuit().l0().max_weights);
        Ok((sizes, Memory::of_probe(trainer, self.site)?))
    }

    fn circuit_trainer(&self, variant: Variant) -> Result<(ProbeTraining, CircuitProbeConfig), TrainError> {
        let config = CircuitProbeConfig {
            probe_vectors: self.probe.vectors.clone(),
            circuit_config: self.circuit_config(variant),
            resid_config: ResidualUpdateModelConfig::from_site(self.site)?,
            loss: self.probe.loss,
        };
        let probe = CircuitProbe::new(config.clone(), self.model.clone())?;
        Ok((self.trainer(probe, variant)?, config))
    }

    fn classifier_trainer(&self, variant: Variant) -> Result<(SubnetworkTraining, SubnetworkProbeConfig), TrainError> {
        let rows = self.examples.rows();
        let config = SubnetworkProbeConfig {
            probe_vectors: self.probe.vectors.clone(),
            n_classes: rows.n_answers,
            circuit_config: self.circuit_config(variant),
            resid_config: ResidualUpdateModelConfig::from_site(self.site)?,
            intermediate_size: self.probe.hidden.map_or(-1, |hidden| hidden as i64),
            labeling: if rows.ends.is_empty() { Labeling::Sequence } else { Labeling::Token },
        };
        let probe = SubnetworkProbe::new(config.clone(), self.model.clone(), self.recipe.seed)?;
        Ok((self.trainer(probe, variant)?, config))
    }

    fn trainer<P: Probe>(&self, probe: P, variant: Variant) -> Result<Trainer<ProbeObjective<P>>, TrainError> {
        let seed = self.recipe.seed;
        let examples = if variant.shuffled { self.examples.shuffled(seed) } else { self.examples.clone() };
        let device = self.pool.device().clone().autodiff();
        let schedule = self.recipe.training.schedule();
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

impl<P: Probe> Trained<P> {
    fn report(self) -> TrainingReport {
        TrainingReport { metrics: self.metrics, layers: self.trainer.circuit().l0().layers }
    }
}
