//! Training on the model's own task: of the model, of a circuit in it, or of both (NeuroSurgeon's `CircuitModel`).

use std::path::Path;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Device;
use burn::train::checkpoint::CheckpointerError;
use ns_circuit::{CircuitConfig, CircuitModel, L0Statistics, rng, save_masks};
use ns_models::{AnyModel, Model, Pretrained, copy_companions, read_config};
use ns_probe::{mask_targets, output_masks};
use serde_json::{Value, json};

use super::{Learner, Outcome, Trainable, initialize};
use crate::data::TaskData;
use crate::error::TrainError;
use crate::evaluate::{CircuitRow, TaskEvaluation, accuracy, evaluate_task, scores_of};
use crate::recipe::{ModelSource, TaskRecipe};
use crate::run::{Interrupt, MODEL, Metrics, Run};

/// Training state of a model with masks. Without masks the model itself is trained.
pub struct TaskTraining {
    recipe: TaskRecipe,
    seed: u64,
    device: Device,
    circuit: CircuitModel<AnyModel>,
    optimizer: ModuleOptimizer,
    data: TaskData,
}

impl TaskTraining {
    /// Loads the data and the model, and attaches freshly initialised masks to the model. `device` must be without
    /// autodiff.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if the recipe is invalid or the model has fewer classes than the data,
    /// [`TrainError::Model`] if the model cannot be loaded, [`TrainError::Circuit`] if the masks do not fit the model,
    /// and errors of [`TaskRecipe::read_data`].
    pub fn new(recipe: &TaskRecipe, seed: u64, device: &Device) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let data = recipe.read_data()?;
        recipe.validate(&data)?;
        let model = read_model(recipe, &data, seed, &device)?;
        check_answers(&model, &data)?;
        let config = recipe.circuit_config.clone().unwrap_or(whole_model());
        // In a trained model, batch norms use the statistics of the batch; in a frozen one, their running statistics.
        let model = if config.freeze_base { model } else { model.unfreeze() };
        if model.dropout() > 0.0 && !config.freeze_base {
            tracing::warn!("the configuration has a dropout of {}, which training ignores", model.dropout());
        }
        let targets = mask_targets(&model);
        let circuit = CircuitModel::new(config, model, &targets)?;
        circuit.set_seed(seed);
        Ok(Self { recipe: recipe.clone(), seed, device, circuit, optimizer: recipe.optimizer.init(), data })
    }

    /// The recipe.
    pub fn recipe(&self) -> &TaskRecipe {
        &self.recipe
    }

    /// The current model with its masks, in training mode.
    pub fn circuit(&self) -> &CircuitModel<AnyModel> {
        &self.circuit
    }

    /// The examples.
    pub fn data(&self) -> &TaskData {
        &self.data
    }

    /// Rows of each batch of an epoch. They depend only on seed and epoch.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let train = &self.data.split().train;
        let order = rng::permutation(&mut rng::stream(self.seed, "shuffle", epoch as u64, 0), train.len());
        let rows = |indices: &[usize]| indices.iter().map(|index| train[*index]).collect();
        order.chunks_exact(self.recipe.batch_size).map(rows).collect()
    }

    /// Trains one step and returns the loss without its L0 term.
    fn step(&mut self, epoch: usize, step: usize, rows: &[usize]) -> Result<f64, TrainError> {
        self.circuit.begin_step(epoch as u64, step as u64);
        let (batch, model) = (self.data.batch(rows, &self.device)?, self.circuit.model()?);
        let output = batch.task_output(model, output_masks())?;
        let loss = match self.circuit.l0_loss() {
            Some(l0) => output.loss.clone() + l0,
            None => output.loss.clone(),
        };
        let gradients = GradientsParams::from_grads(loss.backward(), &self.circuit);
        let learning_rate = self.recipe.optimizer.learning_rate_at(epoch);
        self.circuit = self.optimizer.step(learning_rate, self.circuit.clone(), gradients);
        Ok(output.loss.into_scalar())
    }

    fn temperature_at(&self, epoch: usize) -> f32 {
        self.recipe.final_temperature.powf(epoch as f64 / self.recipe.epochs as f64) as f32
    }

    /// Returns whether the base is frozen. A checkpoint then has only the mask parameters.
    fn is_frozen(&self) -> bool {
        self.circuit.config().freeze_base
    }
}

/// Configuration without masks and with a trainable base.
fn whole_model() -> CircuitConfig {
    CircuitConfig { freeze_base: false, add_l0: false, ..CircuitConfig::default() }
}

/// Checks that the model has at least as many answers as the data.
fn check_answers(model: &AnyModel, data: &TaskData) -> Result<(), TrainError> {
    let Some(row) = data.split().train.first() else { return Ok(()) };
    let [_, answers] = data.batch(&[*row], &model.device())?.scores(model)?.dims();
    let needed = data.n_answers();
    match answers >= needed {
        true => Ok(()),
        false => Err(TrainError::Setting {
            setting: "model",
            found: format!("one with {answers} classes"),
            expected: format!("the data has {needed} classes; set `architecture` to give the model a new head"),
        }),
    }
}

/// Loads the model of a recipe. A new head, or a model from a configuration, gets random weights from `seed`.
///
/// # Errors
/// Returns [`TrainError::Model`] if the model cannot be loaded.
fn read_model(recipe: &TaskRecipe, data: &TaskData, seed: u64, device: &Device) -> Result<AnyModel, TrainError> {
    match (&recipe.model, &recipe.architecture) {
        (ModelSource::Folder(folder), None) => Ok(AnyModel::load(folder, device)?),
        (ModelSource::Folder(folder), Some(class)) => {
            let config = with_head(read_config(folder)?, class, data.classes());
            Ok(initialize(AnyModel::init(&config, device)?, seed).with_base_weights(folder)?)
        }
        (ModelSource::Config(config), class) => {
            let config = match class {
                Some(class) => with_head(config.clone(), class, data.classes()),
                None => config.clone(),
            };
            Ok(initialize(AnyModel::init(&config, device)?, seed))
        }
    }
}

/// Returns `config` with the HF class `class` and the given class names as its labels.
fn with_head(mut config: Value, class: &str, classes: &[String]) -> Value {
    config["architectures"] = json!([class]);
    if !classes.is_empty() {
        let names = classes.iter().enumerate();
        config["id2label"] =
            names.clone().map(|(id, name)| (id.to_string(), json!(name))).collect::<serde_json::Map<_, _>>().into();
        config["label2id"] =
            names.map(|(id, name)| (name.clone(), json!(id))).collect::<serde_json::Map<_, _>>().into();
    }
    config
}

impl Trainable for TaskTraining {
    fn epoch(&mut self, epoch: usize) -> Result<Metrics, TrainError> {
        let temperature = self.temperature_at(epoch);
        self.circuit.set_temperature(temperature)?;
        let batches = self.batches(epoch);
        let mut total = 0.0;
        for (step, rows) in batches.iter().enumerate() {
            total += self.step(epoch, step, rows)?;
        }
        let metrics = Metrics::new(epoch + 1, total / batches.len() as f64);
        let l0 = self.circuit.l0();
        let metrics = match l0.max > 0.0 {
            true => metrics.with("l0", l0.total).with("l0_max", l0.max).with("temperature", f64::from(temperature)),
            false => metrics,
        };
        if !(epoch + 1).is_multiple_of(self.recipe.evaluate_every.max(1)) && epoch + 1 != self.recipe.epochs {
            return Ok(metrics);
        }
        let circuit = self.circuit.valid();
        let (scores, labels) = scores_of(&self.data, &self.data.split().test, circuit.model()?)?;
        Ok(metrics.with("test_accuracy", accuracy(scores, labels)))
    }

    fn records(&self) -> (ModuleRecord, OptimizerRecord) {
        let record = match self.is_frozen() {
            true => self.circuit.clone().into_record_group(self.circuit.mask_parameters()),
            // Batch norms update their running statistics on the switch to evaluation mode.
            false => self.circuit.valid().into_record(),
        };
        (record, self.optimizer.to_record())
    }

    fn restore(&mut self, model: ModuleRecord, optimizer: OptimizerRecord) -> Result<(), CheckpointerError> {
        // With a frozen base, the checkpoint has only the mask parameters; the base is the model that the recipe names.
        let restored = self.circuit.clone().try_load_record(model.allow_partial(self.is_frozen()));
        self.circuit = restored.map_err(CheckpointerError::Record)?;
        self.optimizer = self.recipe.optimizer.init().load_record(optimizer);
        Ok(())
    }
}

/// Results of a run on a task.
#[derive(Clone, Debug)]
pub struct TaskReport {
    /// Training metrics, one entry per epoch.
    pub metrics: Vec<Metrics>,
    /// Accuracy on the test examples.
    pub test_accuracy: f64,
    /// Accuracy on the test examples of always predicting the most frequent answer of the training examples.
    pub majority: f64,
    /// Ablations of the circuit; `None` if no circuit was trained.
    pub circuit: Option<CircuitRow>,
    /// Size of the circuit, in total and per layer.
    pub l0: L0Statistics,
}

/// Trains a model or a circuit on the model's own task in a run folder and evaluates it. Resumes if the folder has a
/// checkpoint.
///
/// A finished run writes `masks.safetensors` and `circuit_config.json` if the recipe has masks, and the model to the
/// subfolder `model` if it differs from the model folder that the recipe names. Returns `None` if the run was
/// interrupted. An invalid recipe is rejected before anything is written.
///
/// # Errors
/// Returns errors of [`TaskTraining::new`], [`Run::open`], [`Learner::train`] and of the evaluation.
pub fn train_task(
    recipe: &TaskRecipe,
    seed: u64,
    folder: &Path,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<Option<TaskReport>, TrainError> {
    let mut training = TaskTraining::new(recipe, seed, device)?;
    let run = Run::open(folder, recipe, seed)?;
    let label = match &recipe.circuit_config {
        Some(config) => format!("circuit, λ {:e}", config.l0_lambda),
        None => "train".into(),
    };
    let (epochs, checkpoint_every) = (recipe.epochs, recipe.checkpoint_every);
    let learner = Learner { label, epochs, checkpoint_every, interrupt: interrupt.clone() };
    let (outcome, metrics) = learner.train(&mut training, &run)?;
    if outcome != Outcome::Finished {
        return Ok(None);
    }
    save(&training, &run)?;
    let circuit = training.circuit().valid();
    let TaskEvaluation { test_accuracy, circuit: row } = evaluate_task(recipe, training.data(), &circuit, seed)?;
    let (majority, l0) = (training.data().majority(), circuit.l0());
    Ok(Some(TaskReport { metrics, test_accuracy, majority, circuit: row, l0 }))
}

/// Writes the masks if there are any, and the model if it differs from the model folder that the recipe names.
fn save(training: &TaskTraining, run: &Run) -> Result<(), TrainError> {
    let (recipe, circuit) = (training.recipe(), training.circuit().valid());
    let frozen = circuit.config().freeze_base;
    if !frozen || recipe.architecture.is_some() || recipe.model_folder().is_none() {
        save_model(&circuit.unmasked(), recipe.model_folder(), &run.path(MODEL))?;
    }
    if recipe.circuit_config.is_some() {
        save_masks(run.path("masks.safetensors"), &circuit)?;
        run.write("circuit_config.json", &format!("{:#}\n", serde_json::json!(circuit.config())))?;
    }
    Ok(())
}

/// Writes the model to `to`, with the tokenizer and preprocessor files of the folder `from`.
fn save_model(model: &AnyModel, from: Option<&Path>, to: &Path) -> Result<(), TrainError> {
    match model {
        AnyModel::Transformer(model) => model.save(to)?,
        AnyModel::ResNet(model) => model.save(to)?,
    }
    if let Some(from) = from {
        copy_companions(from, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
        epochs = 2
        batch_size = 500
        [model]
        model_type = "vit"
        architectures = ["ViTForImageClassification"]
        image_size = 8
        patch_size = 4
        num_channels = 1
        hidden_size = 8
        num_hidden_layers = 1
        num_attention_heads = 2
        intermediate_size = 8
        num_labels = 10
        [data.images]
        path = "data/digits.csv"
        shape = [8, 8]
        maximum = 16.0
        split = { seeded = { train_fraction = 0.8, seed = 0 } }
    "#;
    const CIRCUIT: &str = r#"
        [circuit_config]
        mask_method = "hard_concrete"
        target_layers = ["vit.encoder.layer.0.intermediate.dense"]
        add_l0 = true
        l0_lambda = 1e-3
        [circuit_config.mask_hparams]
        mask_unit = "neuron"
        mask_init_percentage = 0.7
    "#;

    fn recipe(text: &str) -> TaskRecipe {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits/recipe.toml");
        toml::from_str::<TaskRecipe>(text).unwrap().resolve(&shipped).unwrap()
    }

    fn training(text: &str) -> Result<TaskTraining, TrainError> {
        TaskTraining::new(&recipe(text), 0, &Device::default())
    }

    #[test]
    fn a_frozen_base_stays_and_its_masks_move() {
        let mut training = training(&format!("{RECIPE}{CIRCUIT}")).unwrap();
        let (base, masks) = (training.circuit.unmasked(), training.circuit.mask_params());
        let metrics = training.epoch(0).unwrap();
        assert!(metrics.loss > 0.0 && metrics.get("l0_max") == Some(64.0), "{metrics}");
        assert_ne!(training.circuit.mask_params(), masks);
        let scores = |model: &AnyModel| scores_of(&training.data, &[0, 1], model).unwrap().0.into_data();
        scores(&training.circuit.valid().unmasked()).assert_eq(&scores(&base.valid()), true);
    }

    #[test]
    fn without_masks_the_model_itself_is_trained() {
        let mut training = training(RECIPE).unwrap();
        let before = scores_of(&training.data, &[0, 1], &training.circuit.valid().unmasked()).unwrap().0.into_data();
        let metrics = training.epoch(0).unwrap();
        assert_eq!(metrics.get("l0"), None);
        let after = scores_of(&training.data, &[0, 1], &training.circuit.valid().unmasked()).unwrap().0.into_data();
        assert_ne!(before, after);
    }

    #[test]
    fn a_resumed_run_is_the_same_run() {
        for text in [format!("{RECIPE}{CIRCUIT}"), RECIPE.to_string()] {
            let recipe = recipe(&text);
            let train = |interrupted: bool| {
                let folder = tempfile::tempdir().unwrap();
                let run = Run::open(folder.path(), &recipe, 0).unwrap();
                let learner = |stop: bool| {
                    let interrupt = Interrupt::default();
                    if stop {
                        interrupt.ask();
                    }
                    Learner { label: "test".into(), epochs: 2, checkpoint_every: 2, interrupt }
                };
                if interrupted {
                    let (outcome, _) = learner(true).train(&mut training(&text).unwrap(), &run).unwrap();
                    assert_eq!(outcome, Outcome::Interrupted { epochs_done: 1 });
                }
                let mut training = training(&text).unwrap();
                learner(false).train(&mut training, &run).unwrap();
                scores_of(&training.data, &[0, 1, 2], training.circuit.valid().model().unwrap()).unwrap().0.into_data()
            };
            train(true).assert_eq(&train(false), true);
        }
    }

    #[test]
    fn an_invalid_recipe_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |text: String| {
            let to = folder.path().join("run");
            let error = train_task(&recipe(&text), 0, &to, &Device::default(), &Interrupt::default()).unwrap_err();
            assert!(!to.exists());
            error.to_string()
        };
        assert!(refused(RECIPE.replace("batch_size = 500", "batch_size = 2000")).contains("1437 training examples"));
        assert!(refused(RECIPE.replace("num_labels = 10", "num_labels = 3")).contains("model is one with 3 classes"));
        assert!(refused(RECIPE.replace("ForImageClassification", "Model")).contains("base model"));
        assert!(refused(format!("l0_lambdas = [-1.0]{RECIPE}{CIRCUIT}")).contains("l0_lambdas is -1"));
    }
}
