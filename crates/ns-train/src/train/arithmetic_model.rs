//! Full-batch training of a model on an arithmetic task (Lepori et al. 2024, experiment 1, after Nanda et al. 2023).

use std::path::Path;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Int, Tensor};
use burn::train::checkpoint::CheckpointerError;
use ns_models::{AnyTransformer, Model, ModelInputs, cross_entropy};

use super::{Learner, Outcome, Trainable, initialize};
use crate::data::{Arithmetic, Examples, Split, last_logits};
use crate::error::TrainError;
use crate::evaluate::accuracy;
use crate::recipe::TrainRecipe;
use crate::run::{Interrupt, Metrics, Run};

/// Training state of a model that starts from random weights.
///
/// Each epoch is one optimiser step on the whole training split. Its gradients are accumulated over micro-batches.
pub struct ModelTraining {
    recipe: TrainRecipe,
    model: AnyTransformer,
    optimizer: ModuleOptimizer,
    train: Vec<Batch>,
    test: Vec<Batch>,
}

/// A micro-batch.
struct Batch {
    inputs: ModelInputs,
    /// `[batch]`
    answers: Tensor<1, Int>,
}

impl Batch {
    fn len(&self) -> usize {
        self.inputs.batch_size()
    }

    fn loss(&self, model: &AnyTransformer) -> Result<Tensor<1>, TrainError> {
        let logits = in_double_precision(last_logits(model, &self.inputs)?);
        Ok(cross_entropy(logits, self.answers.clone()))
    }
}

impl ModelTraining {
    /// Creates a model with random weights from `seed`. `device` must be without autodiff; training adds it.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if the task is invalid or the model does not fit the task, and
    /// [`TrainError::Model`] if the model's configuration is invalid.
    pub fn new(recipe: &TrainRecipe, seed: u64, device: &Device) -> Result<Self, TrainError> {
        let task = recipe.task;
        task.validate()?;
        let device = device.clone().autodiff();
        let model = AnyTransformer::init(&recipe.model, &device)?;
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

    /// The current model, without autodiff.
    pub fn model(&self) -> AnyTransformer {
        self.model.valid()
    }
}

impl Trainable for ModelTraining {
    fn epoch(&mut self, epoch: usize) -> Result<Metrics, TrainError> {
        let rows: usize = self.train.iter().map(Batch::len).sum();
        let (mut accumulator, mut loss) = (GradientsAccumulator::new(), 0.0);
        for batch in &self.train {
            let weight = batch.len() as f64 / rows as f64;
            let batch_loss = batch.loss(&self.model)? * weight;
            loss += batch_loss.clone().into_scalar::<f64>();
            accumulator.accumulate(&self.model, GradientsParams::from_grads(batch_loss.backward(), &self.model));
        }
        let learning_rate = self.recipe.optimizer.learning_rate_at(epoch);
        self.model = self.optimizer.step(learning_rate, self.model.clone(), accumulator.grads());
        let metrics = Metrics::new(epoch + 1, loss).with("learning_rate", learning_rate);
        if !(epoch + 1).is_multiple_of(self.recipe.evaluate_every.max(1)) && epoch + 1 != self.recipe.epochs {
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

/// Trains a model on arithmetic in a run folder. Resumes if the folder has a checkpoint.
///
/// A finished run writes the model in HF layout to the subfolder `model`. An invalid recipe is rejected before anything
/// is written.
///
/// # Errors
/// Returns errors of [`ModelTraining::new`], [`Run::open`] and [`Learner::train`], and [`TrainError::Model`] if the
/// model cannot be written.
pub fn train_model(
    recipe: &TrainRecipe,
    seed: u64,
    folder: &Path,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<(Outcome, Vec<Metrics>), TrainError> {
    let mut training = ModelTraining::new(recipe, seed, device)?;
    let run = Run::open(folder, recipe, seed)?;
    let learner = Learner {
        label: "train".into(),
        epochs: recipe.epochs,
        checkpoint_every: recipe.checkpoint_every,
        interrupt: interrupt.clone(),
    };
    let (outcome, metrics) = learner.train(&mut training, &run)?;
    if outcome == Outcome::Finished {
        training.model().save(&run.path("model"))?;
    }
    Ok((outcome, metrics))
}

/// Mean loss and accuracy of a model without autodiff.
fn evaluate(model: &AnyTransformer, batches: &[Batch]) -> Result<(f64, f64), TrainError> {
    let rows: usize = batches.iter().map(Batch::len).sum();
    let (mut loss, mut correct) = (0.0, 0.0);
    for batch in batches {
        let logits = last_logits(model, &batch.inputs.clone().without_autodiff())?;
        let answers = batch.answers.clone().inner();
        let batch_loss: f64 = cross_entropy(in_double_precision(logits.clone()), answers.clone()).into_scalar();
        loss += batch_loss * batch.len() as f64;
        correct += accuracy(logits, answers) * batch.len() as f64;
    }
    Ok((loss / rows as f64, correct / rows as f64))
}

/// Checks that the vocabulary covers the task and that the model has no dropout.
fn check_fits(config: &serde_json::Value, task: Arithmetic, model: &AnyTransformer) -> Result<(), TrainError> {
    let setting = |setting, found: String, expected: String| Err(TrainError::Setting { setting, found, expected });
    let vocab_size = config["vocab_size"].as_u64().unwrap_or_default() as usize;
    if vocab_size < task.vocab_size() {
        let expected = format!("the task has {} tokens", task.vocab_size());
        return setting("model.vocab_size", vocab_size.to_string(), expected);
    }
    if model.dropout() > 0.0 {
        let expected = "dropout is not supported: set embd_pdrop, attn_pdrop and resid_pdrop to 0".into();
        return setting("model dropout", model.dropout().to_string(), expected);
    }
    Ok(())
}

/// Converts logits to f64 if the device supports it. Close to a loss of zero, f32 gradients are mostly rounding noise.
fn in_double_precision(logits: Tensor<2>) -> Tensor<2> {
    match logits.device().supports_dtype(DType::F64) {
        true => logits.cast(DType::F64),
        false => logits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Operation;
    use crate::recipe::OptimizerRecipe;

    fn tiny_recipe(micro_batch: usize) -> TrainRecipe {
        TrainRecipe {
            epochs: 3,
            evaluate_every: 1,
            checkpoint_every: 1,
            micro_batch,
            task: Arithmetic { modulus: 5, operation: Operation::SquareDifference, train_fraction: 0.8, split_seed: 0 },
            optimizer: OptimizerRecipe::default(),
            model: serde_json::json!({
                "model_type": "gpt2", "vocab_size": 6, "n_positions": 3, "n_embd": 8, "n_layer": 1, "n_head": 2,
                "embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0,
            }),
        }
    }

    fn losses(micro_batch: usize) -> Vec<f64> {
        let mut training = ModelTraining::new(&tiny_recipe(micro_batch), 0, &Device::default()).unwrap();
        (0..3).map(|epoch| training.epoch(epoch).unwrap().loss).collect()
    }

    #[test]
    fn micro_batches_add_up_to_the_full_batch() {
        let full = losses(1000);
        assert!(full[2] < full[0]);
        for (full, accumulated) in full.iter().zip(losses(3)) {
            assert!((full - accumulated).abs() < 1e-5, "{full} and {accumulated}");
        }
    }

    #[test]
    fn a_model_with_dropout_or_too_few_tokens_is_an_error() {
        for (key, value, expected) in [("attn_pdrop", 0.1.into(), "attn_pdrop"), ("vocab_size", 5.into(), "6 tokens")] {
            let mut recipe = tiny_recipe(10);
            recipe.model[key] = value;
            let error = ModelTraining::new(&recipe, 0, &Device::default()).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
