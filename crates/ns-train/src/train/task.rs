//! Training on the model's own task: of the model, of a circuit in it, or of both (NeuroSurgeon's `CircuitModel`).

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ns_circuit::{CircuitConfig, CircuitModel, L0Statistics, Losses, save_masks};
use ns_models::{AnyModel, Head, Labels, Model, Pretrained, copy_companions, cross_entropy, read_config};
use ns_probe::{ProbeBatch, mask_targets, output_masks};
use serde_json::{Value, json};

use super::initialize::initialize;
use super::learner::Outcome;
use super::objective::Objective;
use super::trainer::Trainer;
use crate::data::{Dataset, label_tensor};
use crate::error::TrainError;
use crate::evaluate::{CircuitRow, answer_scores, circuit_row, test_accuracy};
use crate::recipe::{ModelSource, TaskRecipe};
use crate::run::{Interrupt, MODEL, Metrics, Run};

/// Minimises the loss of the model's head, or for a language model the cross-entropy after the last token.
pub struct TaskObjective;

impl Objective for TaskObjective {
    type Module = CircuitModel<AnyModel>;
    type Base = AnyModel;

    fn circuit(module: &Self::Module) -> &CircuitModel<AnyModel> {
        module
    }

    fn circuit_mut(module: &mut Self::Module) -> &mut CircuitModel<AnyModel> {
        module
    }

    fn loss(&mut self, circuit: &Self::Module, _rows: &[usize], batch: &ProbeBatch) -> Result<Losses, TrainError> {
        Ok(circuit.with_l0(task_loss(&circuit.model()?, batch)?))
    }

    fn evaluate(&self, circuit: &Self::Module, data: &dyn Dataset) -> Result<Vec<(&'static str, f64)>, TrainError> {
        Ok(vec![("test_accuracy", test_accuracy(data, &circuit.valid().model()?)?)])
    }
}

/// The mean loss of a batch. Neuron masks scale outputs.
fn task_loss(model: &AnyModel, batch: &ProbeBatch) -> Result<Tensor<1>, TrainError> {
    let labels = label_tensor(batch.labels.clone(), &model.device());
    if model.head() == Head::Lm {
        return Ok(cross_entropy(answer_scores(model, &batch.inputs, output_masks())?, labels));
    }
    let logits = model.logits_with(&batch.inputs, output_masks())?;
    Ok(model.task_loss(&batch.inputs, logits, &Labels::Classes(labels))?.loss)
}

/// Training state of a model with masks. Without masks the model itself is trained.
pub type TaskTraining = Trainer<TaskObjective>;

impl TaskTraining {
    /// Loads the data and the model, and attaches freshly initialised masks to the model. `device` must be without
    /// autodiff.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if the recipe is invalid or the model has fewer classes than the data,
    /// [`TrainError::Model`] if the model cannot be loaded, [`TrainError::Circuit`] if the masks do not fit the model,
    /// and errors of [`TaskRecipe::read_data`].
    pub fn from_recipe(recipe: &TaskRecipe, seed: u64, device: &Device) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let data = recipe.read_data()?;
        recipe.validate(data.split().train.len())?;
        let model = read_model(recipe, data.classes(), seed, &device)?;
        check_answers(&model, &*data)?;
        let config = recipe.circuit_config.clone().unwrap_or(whole_model());
        // In a trained model, batch norms use the statistics of the batch; in a frozen one, their running statistics.
        let model = if config.freeze_base { model } else { model.unfreeze() };
        if model.dropout() > 0.0 && !config.freeze_base {
            tracing::warn!("the configuration has a dropout of {}, which training ignores", model.dropout());
        }
        let targets = mask_targets(&model);
        let circuit = CircuitModel::new(config, model, &targets)?;
        Ok(Trainer::new(TaskObjective, circuit, data, recipe.schedule(), seed, device))
    }
}

/// Configuration without masks and with a trainable base.
pub(super) fn whole_model() -> CircuitConfig {
    CircuitConfig { freeze_base: false, add_l0: false, ..CircuitConfig::default() }
}

/// Checks that the model has at least as many answers as the data.
fn check_answers(model: &AnyModel, data: &dyn Dataset) -> Result<(), TrainError> {
    let Some(row) = data.split().train.first() else { return Ok(()) };
    let [_, answers] = answer_scores(model, &data.batch(&[*row], &model.device())?.inputs, None)?.dims();
    let needed = data.rows().n_answers;
    let expected = format!("the data has {needed} classes; set `architecture` to give the model a new head");
    TrainError::check(answers >= needed, "model", format!("one with {answers} classes"), expected)
}

/// Loads the model of a recipe. A new head, or a model from a configuration, gets random weights from `seed`.
///
/// # Errors
/// Returns [`TrainError::Model`] if the model cannot be loaded.
fn read_model(recipe: &TaskRecipe, classes: &[String], seed: u64, device: &Device) -> Result<AnyModel, TrainError> {
    let config = match (&recipe.model, &recipe.architecture) {
        (ModelSource::Folder(folder), None) => return Ok(AnyModel::load(folder, device)?),
        (ModelSource::Folder(folder), Some(class)) => with_head(read_config(folder)?, class, classes),
        (ModelSource::Config(config), Some(class)) => with_head(config.clone(), class, classes),
        (ModelSource::Config(config), None) => config.clone(),
    };
    let model = initialize(AnyModel::init(&config, device)?, seed);
    Ok(match recipe.model_folder() {
        Some(folder) => model.with_base_weights(folder)?,
        None => model,
    })
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
/// Returns errors of [`TaskTraining::from_recipe`], [`Trainer::train`] and of the evaluation.
pub fn train_task(
    recipe: &TaskRecipe,
    seed: u64,
    folder: impl AsRef<Path>,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<Option<TaskReport>, TrainError> {
    let folder = folder.as_ref();
    let mut training = TaskTraining::from_recipe(recipe, seed, device)?;
    let label = match &recipe.circuit_config {
        Some(config) => format!("circuit, λ {:e}", config.l0_lambda),
        None => "train".into(),
    };
    let (run, outcome, metrics) = training.train(recipe, label, folder, interrupt)?;
    if outcome != Outcome::Finished {
        return Ok(None);
    }
    let (data, circuit) = (training.data(), training.circuit().valid());
    save(recipe, &circuit, &run)?;
    Ok(Some(TaskReport {
        metrics,
        test_accuracy: test_accuracy(data, &circuit.model()?)?,
        majority: data.rows().majority(),
        circuit: circuit_row(recipe, data, &circuit, seed)?,
        l0: circuit.l0(),
    }))
}

/// Writes the masks if there are any, and the model if it differs from the model folder that the recipe names.
fn save(recipe: &TaskRecipe, circuit: &CircuitModel<AnyModel>, run: &Run) -> Result<(), TrainError> {
    if !circuit.config().freeze_base || recipe.architecture.is_some() || recipe.model_folder().is_none() {
        save_model(circuit.base(), recipe.model_folder(), &run.path(MODEL))?;
    }
    if recipe.circuit_config.is_some() {
        save_masks(run.path("masks.safetensors"), circuit)?;
        run.write_json("circuit_config.json", circuit.config())?;
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
    use crate::evaluate::scores_of;
    use crate::train::{Learner, Trainable};

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
        TaskTraining::from_recipe(&recipe(text), 0, &Device::default())
    }

    #[test]
    fn a_frozen_base_stays_and_its_masks_move() {
        let mut training = training(&format!("{RECIPE}{CIRCUIT}")).unwrap();
        let (base, masks) = (training.circuit().base().valid(), training.circuit().mask_params());
        let metrics = training.epoch(0).unwrap();
        assert!(metrics.loss > 0.0 && metrics.get("l0_max") == Some(64.0), "{metrics}");
        assert_ne!(training.circuit().mask_params(), masks);
        let scores = |model: &AnyModel| scores_of(training.data(), &[0, 1], model).unwrap().into_data();
        scores(&training.circuit().base().valid()).assert_eq(&scores(&base), true);
    }

    #[test]
    fn without_masks_the_model_itself_is_trained() {
        let mut training = training(RECIPE).unwrap();
        let before = scores_of(training.data(), &[0, 1], &training.circuit().base().valid()).unwrap().into_data();
        let metrics = training.epoch(0).unwrap();
        assert_eq!(metrics.get("l0"), None);
        let after = scores_of(training.data(), &[0, 1], &training.circuit().base().valid()).unwrap().into_data();
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
                scores_of(training.data(), &[0, 1, 2], &training.circuit().valid().model().unwrap())
                    .unwrap()
                    .into_data()
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
