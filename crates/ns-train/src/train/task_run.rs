//! Runs of the kinds `model` and `circuit`: training on the model's own task.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use ns_circuit::{CircuitConfig, CircuitModel, save_masks};
use ns_models::{AnyModel, Model, Pretrained, copy_companions};
use ns_probe::mask_targets;
use serde_json::{Map, Value, json};

use super::base_model::model_config;
use super::base_model_pool::BaseModelPool;
use super::behaviour;
use super::initialize::initialize;
use super::job::{Job, TrainingReport};
use super::learner::Outcome;
use super::memory::Memory;
use super::probe_measures::MeasuredSets;
use super::task::{TaskObjective, TaskTraining};
use super::task_measures::{measure_circuit, measure_model};
use super::trainer::Trainer;
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::evaluate::{Answers, Row};
use crate::recipe::{Kind, Recipe};
use crate::run::{Interrupt, MODEL, Metrics, Run};

/// Subfolder of the models that `training.keep` names.
const KEPT: &str = "epochs";

/// A run whose examples and model are loaded.
pub(super) struct TaskRun<'a> {
    job: &'a Job,
    /// The recipe with resolved paths.
    recipe: Recipe,
    /// The examples, labelled with the answers of the head.
    answers: Answers,
    trainer: TaskTraining,
}

impl<'a> TaskRun<'a> {
    /// Loads the model and attaches the masks. `recipe` has resolved paths.
    pub(super) fn new(
        job: &'a Job,
        recipe: Recipe,
        examples: Examples,
        pool: &BaseModelPool,
    ) -> Result<Self, TrainError> {
        let device = pool.device().clone().autodiff();
        let trains_model = recipe.kind == Kind::Model;
        let model_config = config_of(&recipe, examples.classes())?;
        let model = read_model(&recipe, &model_config, &device)?;
        let answers = behaviour::answers(pool, &recipe, &model, &model_config)?;
        let config = recipe.circuit_config.clone().unwrap_or(whole_model());
        // In a trained model, batch norms use the statistics of the batch; in a frozen one, their running statistics.
        let model = if config.freeze_base { model } else { model.unfreeze() };
        if model.dropout() > 0.0 && !config.freeze_base {
            tracing::warn!("the configuration has a dropout of {}, which training ignores", model.dropout());
        }
        let targets = mask_targets(&model);
        let circuit = CircuitModel::new(config, model, &targets)?;
        behaviour::check_ablations(&recipe, &circuit)?;
        let predicts_tokens = recipe.is_language_model();
        let objective = TaskObjective::new(trains_model, predicts_tokens, recipe.training.micro_batch);
        let schedule = recipe.training.schedule(recipe.kind);
        let trainer = Trainer::new(
            objective,
            circuit,
            Arc::new(answers.examples.clone()),
            schedule,
            recipe.seed,
            device.clone(),
        )?;
        Ok(Self { job, recipe, answers, trainer })
    }

    /// The training state.
    #[cfg(test)]
    pub(super) fn into_trainer(self) -> TaskTraining {
        self.trainer
    }

    /// What is trained and the memory that it needs, in two lines.
    pub(super) fn summary(&self) -> Result<String, TrainError> {
        let weights = match self.recipe.kind {
            Kind::Model => format!("{} weights", self.trainer.circuit().base().num_params()),
            _ => format!("{} maskable weights", self.trainer.circuit().l0().max_weights),
        };
        let training = &self.recipe.training;
        let memory = Memory::of_task(&self.trainer, training.micro_batch.unwrap_or(training.batch_size))?;
        let predicted = match self.recipe.is_language_model() {
            true => format!("the tokens of the texts ({} in training)", self.job.row(&self.answers.examples).n_train),
            false => self.recipe.data.label.clone().unwrap_or_default(),
        };
        Ok(format!(
            "{} of {predicted} in {}, {} epochs of {} steps, {weights}\n  memory: {memory}",
            self.recipe.kind.name(),
            self.job.recipe.model_name(),
            self.recipe.training.epochs,
            self.trainer.steps_per_epoch(),
        ))
    }

    /// Trains and evaluates the model or the circuit. Returns `None` if the run was interrupted.
    pub(super) fn train(mut self, interrupt: &Interrupt) -> Result<Option<(Vec<Row>, TrainingReport)>, TrainError> {
        let run = Run::open_seeded(&self.job.folder, &self.recipe)?;
        let Some(metrics) = self.train_epochs(&run, interrupt)? else { return Ok(None) };
        self.save(&run)?;
        let circuit = self.trainer.circuit().valid();
        let measures = match self.recipe.kind {
            Kind::Model => {
                let model = circuit.model()?;
                measure_model(&self.trainer.objective, &model, &self.answers.examples, MeasuredSets::All)?
            }
            _ => measure_circuit(&self.recipe, &circuit, &self.answers, MeasuredSets::All)?,
        };
        let row = Row { measures, ..self.job.row(&self.answers.examples) };
        Ok(Some((vec![row], TrainingReport { metrics, layers: circuit.l0().layers })))
    }

    /// Trains up to the last epoch, and writes the models of the epochs that are kept. Returns `None` if the training was
    /// interrupted.
    fn train_epochs(&mut self, run: &Run, interrupt: &Interrupt) -> Result<Option<Vec<Metrics>>, TrainError> {
        let mut kept = self.recipe.training.keep.clone();
        kept.sort_unstable();
        for epoch in kept {
            let done = run.checkpointed();
            // A later checkpoint was written after this epoch was kept.
            if done > epoch {
                continue;
            }
            let (outcome, _) = self.trainer.train_to(epoch, run, self.job.name.clone(), interrupt)?;
            if outcome != Outcome::Finished {
                return Ok(None);
            }
            self.save_model(&run.path(KEPT).join(epoch.to_string()))?;
            if done < epoch && epoch < self.recipe.training.epochs && interrupt.asked() {
                return Ok(None);
            }
        }
        let (outcome, metrics) = self.trainer.train(run, self.job.name.clone(), interrupt)?;
        Ok((outcome == Outcome::Finished).then_some(metrics))
    }

    /// Writes the masks if there are any, and the model if it differs from the folder that the recipe names.
    fn save(&self, run: &Run) -> Result<(), TrainError> {
        let circuit = self.trainer.circuit().valid();
        if !circuit.config().freeze_base || self.recipe.head.is_some() || self.recipe.model_folder().is_none() {
            self.save_model(&run.path(MODEL))?;
        }
        if self.recipe.kind == Kind::Circuit {
            save_masks(run.path("masks.safetensors"), &circuit)?;
            run.write_json("circuit_config.json", circuit.config())?;
        }
        Ok(())
    }

    /// Writes the model, with the tokenizer and preprocessor files of the folder that the recipe names.
    fn save_model(&self, to: &Path) -> Result<(), TrainError> {
        match self.trainer.circuit().valid().base() {
            AnyModel::Transformer(model) => model.save(to)?,
            AnyModel::ResNet(model) => model.save(to)?,
        }
        if let Some(from) = self.recipe.tokenizer_folder() {
            copy_companions(from, to)?;
        }
        Ok(())
    }
}

/// Configuration without masks and with a trainable base.
fn whole_model() -> CircuitConfig {
    CircuitConfig { freeze_base: false, add_l0: false, ..CircuitConfig::default() }
}

/// The `config.json` of the model of a recipe. A new head has the given classes.
fn config_of(recipe: &Recipe, classes: &[String]) -> Result<Value, TrainError> {
    let config = model_config(recipe)?;
    Ok(match &recipe.head {
        Some(class) => with_head(config, class, classes),
        None => config,
    })
}

/// Loads the model of a recipe. A new head, or a model from a configuration, gets random weights from the seed.
///
/// # Errors
/// Returns [`TrainError::Model`] if the model cannot be loaded.
fn read_model(recipe: &Recipe, config: &Value, device: &Device) -> Result<AnyModel, TrainError> {
    match (recipe.model_folder(), &recipe.head) {
        (Some(folder), None) => Ok(AnyModel::load(folder, device)?),
        (None, _) => Ok(initialize(AnyModel::init(config, device)?, recipe.seed)),
        (Some(folder), Some(_)) => {
            let model = AnyModel::init(config, device)?;
            // Before memory is reserved for weights that do not fit the folder.
            model.check_base_weights(folder)?;
            Ok(initialize(model, recipe.seed).with_base_weights(folder)?)
        }
    }
}

/// Returns `config` with the HF class `class` and the given class names as its labels.
fn with_head(mut config: Value, class: &str, classes: &[String]) -> Value {
    config["architectures"] = json!([class]);
    if !classes.is_empty() {
        let names = || classes.iter().enumerate();
        config["id2label"] = names().map(|(id, name)| (id.to_string(), json!(name))).collect::<Map<_, _>>().into();
        config["label2id"] = names().map(|(id, name)| (name.clone(), json!(id))).collect::<Map<_, _>>().into();
    }
    config
}
