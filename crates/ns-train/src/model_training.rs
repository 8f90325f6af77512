//! Training a model on an arithmetic task, full batch (Lepori et al. 2024, experiment 1; after Nanda et al. 2023).

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Int, Tensor, activation::log_softmax};
use burn::train::checkpoint::CheckpointerError;
use ns_models::{AnyModel, Ignore, ModelInputs, Transformer};
use std::ops::ControlFlow;

use crate::{
    Arithmetic, Examples, Interrupt, Learner, Metrics, Outcome, Run, Split, TrainError, TrainRecipe, Trainee,
    initialize::initialize,
};

/// A model on its way from random weights to a solution.
pub struct ModelTraining {
    recipe: TrainRecipe,
    model: AnyModel,
    optimizer: ModuleOptimizer,
    train: Vec<Batch>,
    test: Vec<Batch>,
}

struct Batch {
    inputs: ModelInputs,
    answers: Tensor<1, Int>,
}

impl Batch {
    fn len(&self) -> usize {
        self.inputs.dims()[0]
    }

    fn loss(&self, model: &AnyModel) -> Result<Tensor<1>, TrainError> {
        Ok(cross_entropy(last_logits(model, &self.inputs)?, self.answers.clone()))
    }
}

impl ModelTraining {
    /// A fresh model on `device` (without autodiff; training adds it).
    ///
    /// # Errors
    /// [`TrainError::Setting`] where the model does not fit the task, and what the model's configuration gives.
    pub fn new(recipe: &TrainRecipe, seed: u64, device: &Device) -> Result<Self, TrainError> {
        let task = recipe.task;
        task.validate()?;
        let device = device.clone().autodiff();
        let model = AnyModel::init(&recipe.model, &device)?;
        check_fits(&recipe.model, task, &model)?;
        let Split { train, test } = task.split();
        let batches = |examples: &Examples| {
            let chunks = examples.pairs.chunks(recipe.micro_batch.max(1));
            let batch = |pairs: &[(usize, usize)]| {
                let examples = Examples { pairs: pairs.into() };
                Batch { inputs: task.inputs(&examples, &device), answers: task.answer_tensor(&examples, &device) }
            };
            chunks.map(batch).collect()
        };
        Ok(Self {
            model: initialize(model, seed),
            optimizer: recipe.optimizer.init(),
            train: batches(&train),
            test: batches(&test),
            recipe: recipe.clone(),
        })
    }

    /// The model as it is now, without autodiff.
    pub fn model(&self) -> AnyModel {
        self.model.valid()
    }
}

impl Trainee for ModelTraining {
    fn epoch(&mut self, epoch: usize) -> Result<Metrics, TrainError> {
        let rows: usize = self.train.iter().map(Batch::len).sum();
        let (mut accumulator, mut loss) = (GradientsAccumulator::new(), 0.0);
        for batch in &self.train {
            let share = batch.len() as f64 / rows as f64;
            let part = batch.loss(&self.model)? * share;
            loss += part.clone().into_scalar::<f64>();
            accumulator.accumulate(&self.model, GradientsParams::from_grads(part.backward(), &self.model));
        }
        let learning_rate = self.recipe.optimizer.learning_rate_at(epoch);
        self.model = self.optimizer.step(learning_rate, self.model.clone(), accumulator.grads());
        let metrics = Metrics::new(epoch + 1, loss).with("learning_rate", learning_rate);
        if (epoch + 1) % self.recipe.evaluate_every.max(1) != 0 && epoch + 1 != self.recipe.epochs {
            return Ok(metrics);
        }
        let model = self.model.valid();
        let (_, train_accuracy) = evaluate(&model, &self.train)?;
        let (test_loss, test_accuracy) = evaluate(&model, &self.test)?;
        let metrics = metrics.with("train_accuracy", train_accuracy);
        Ok(metrics.with("test_loss", test_loss).with("test_accuracy", test_accuracy))
    }

    fn records(&self) -> (ModuleRecord, OptimizerRecord) {
        (self.model.clone().into_record(), self.optimizer.to_record())
    }

    fn restore(&mut self, model: ModuleRecord, optimizer: OptimizerRecord) -> Result<(), CheckpointerError> {
        self.model = self.model.clone().try_load_record(model).map_err(CheckpointerError::Record)?;
        self.optimizer = self.recipe.optimizer.init().load_record(optimizer);
        Ok(())
    }
}

/// Trains a model in a run folder, resuming if the folder has a checkpoint; a finished run leaves the model in HF
/// layout in its subfolder `model`.
///
/// # Errors
/// As [`ModelTraining::new`] and [`Learner::train`].
pub fn train_model(
    recipe: &TrainRecipe,
    seed: u64,
    run: &Run,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<(Outcome, Vec<Metrics>), TrainError> {
    let mut training = ModelTraining::new(recipe, seed, device)?;
    let learner = Learner {
        label: "train".into(),
        epochs: recipe.epochs,
        checkpoint_every: recipe.checkpoint_every,
        interrupt: interrupt.clone(),
    };
    let (outcome, metrics) = learner.train(&mut training, run)?;
    if outcome == Outcome::Finished {
        training.model().save(&run.path("model"))?;
    }
    Ok((outcome, metrics))
}

/// Mean loss and accuracy of a model without autodiff.
fn evaluate(model: &AnyModel, batches: &[Batch]) -> Result<(f64, f64), TrainError> {
    let rows: usize = batches.iter().map(Batch::len).sum();
    let (mut loss, mut right) = (0.0, 0.0);
    for batch in batches {
        let logits = last_logits(model, &batch.inputs.clone().without_autodiff())?;
        let answers = batch.answers.clone().inner();
        let part: f64 = cross_entropy(logits.clone(), answers.clone()).into_scalar();
        loss += part * batch.len() as f64;
        right += accuracy(logits, answers) * batch.len() as f64;
    }
    Ok((loss / rows as f64, right / rows as f64))
}

fn check_fits(config: &serde_json::Value, task: Arithmetic, model: &AnyModel) -> Result<(), TrainError> {
    let setting = |setting, found: String, expected: String| Err(TrainError::Setting { setting, found, expected });
    let vocab_size = config["vocab_size"].as_u64().unwrap_or_default() as usize;
    if vocab_size < task.vocab_size() {
        let expected = format!("the task has {} tokens", task.vocab_size());
        return setting("model.vocab_size", vocab_size.to_string(), expected);
    }
    if model.dropout() > 0.0 {
        let expected = "models are trained without: set embd_pdrop, attn_pdrop and resid_pdrop to 0".into();
        return setting("model dropout", model.dropout().to_string(), expected);
    }
    Ok(())
}

/// Scores after the last token, `[batch, vocab]`. No other position of the last block is computed.
pub(crate) fn last_logits<M: Transformer>(model: &M, inputs: &ModelInputs) -> Result<Tensor<2>, TrainError> {
    model.check_inputs(inputs)?;
    let [batch, seq] = inputs.dims();
    let context = model.context(inputs).only(model.n_layers() - 1, seq - 1..seq);
    let ControlFlow::Continue(hidden) = model.blocks_from(0, model.embed(inputs), &context, &mut Ignore) else {
        unreachable!("an observer that ignores everything stops no walk")
    };
    let logits = model.token_logits(model.finish(hidden));
    let logits = logits.ok_or_else(|| TrainError::Setting {
        setting: "model.architectures",
        found: "a model without a language-model head".into(),
        expected: "the task asks for the next token".into(),
    })?;
    let [_, _, vocab] = logits.dims();
    Ok(logits.reshape([batch, vocab]))
}

/// Mean cross-entropy, in f64 where the device has it: near zero loss, f32 gradients are noise.
///
/// # Shapes
/// - logits: `[batch, classes]`
/// - answers: `[batch]`
fn cross_entropy(logits: Tensor<2>, answers: Tensor<1, Int>) -> Tensor<1> {
    let logits = match logits.device().supports_dtype(DType::F64) {
        true => logits.cast(DType::F64),
        false => logits,
    };
    let [batch, _] = logits.dims();
    log_softmax(logits, 1).gather(1, answers.reshape([batch, 1])).mean().neg()
}

/// Share of rows whose highest score is the answer.
pub(crate) fn accuracy(logits: Tensor<2>, answers: Tensor<1, Int>) -> f64 {
    let [batch, _] = logits.dims();
    let right: i64 = logits.argmax(1).reshape([batch]).equal(answers).int().sum().into_scalar();
    right as f64 / batch as f64
}
