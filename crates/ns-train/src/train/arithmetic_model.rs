//! Full-batch training of a model on an arithmetic task (Lepori et al. 2024, experiment 1, after Nanda et al. 2023).

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use ns_circuit::{CircuitModel, Losses};
use ns_models::{AnyTransformer, Model, cross_entropy};
use ns_probe::ProbeBatch;

use super::initialize::initialize;
use super::learner::Outcome;
use super::objective::Objective;
use super::task::whole_model;
use super::trainer::Trainer;
use crate::data::{Arithmetic, Dataset, label_tensor};
use crate::error::TrainError;
use crate::evaluate::{accuracy, last_logits};
use crate::recipe::TrainRecipe;
use crate::run::{Interrupt, Metrics};

/// Minimises the cross-entropy of the next token, in double precision.
pub struct NextTokenObjective {
    /// Examples per forward pass of the evaluation.
    evaluation_batch: usize,
}

impl Objective for NextTokenObjective {
    type Module = CircuitModel<AnyTransformer>;
    type Base = AnyTransformer;

    fn circuit(module: &Self::Module) -> &CircuitModel<AnyTransformer> {
        module
    }

    fn circuit_mut(module: &mut Self::Module) -> &mut CircuitModel<AnyTransformer> {
        module
    }

    fn loss(&mut self, circuit: &Self::Module, _rows: &[usize], batch: &ProbeBatch) -> Result<Losses, TrainError> {
        let logits = last_logits(&circuit.model()?, &batch.inputs, None)?;
        Ok(circuit.with_l0(loss(logits, batch)))
    }

    fn evaluate(&self, circuit: &Self::Module, data: &dyn Dataset) -> Result<Vec<(&'static str, f64)>, TrainError> {
        let circuit = circuit.valid();
        let (_, train_accuracy) = self.measure(&circuit.model()?, data, &data.split().train)?;
        let (test_loss, test_accuracy) = self.measure(&circuit.model()?, data, &data.split().test)?;
        Ok(vec![("train_accuracy", train_accuracy), ("test_loss", test_loss), ("test_accuracy", test_accuracy)])
    }
}

impl NextTokenObjective {
    /// Mean loss and accuracy of a model without autodiff.
    fn measure(&self, model: &AnyTransformer, data: &dyn Dataset, rows: &[usize]) -> Result<(f64, f64), TrainError> {
        let (mut total, mut correct) = (0.0, 0.0);
        for rows in rows.chunks(self.evaluation_batch) {
            let batch = data.batch(rows, &model.device())?;
            let logits = last_logits(model, &batch.inputs, None)?;
            total += loss(logits.clone(), &batch).into_scalar::<f64>() * rows.len() as f64;
            correct += accuracy(logits, label_tensor(batch.labels, &model.device())) * rows.len() as f64;
        }
        Ok((total / rows.len() as f64, correct / rows.len() as f64))
    }
}

/// The cross-entropy, in f64 if the device supports it. Close to a loss of zero, f32 gradients are mostly rounding
/// noise.
fn loss(logits: Tensor<2>, batch: &ProbeBatch) -> Tensor<1> {
    let labels = label_tensor(batch.labels.clone(), &logits.device());
    match logits.device().supports_dtype(DType::F64) {
        true => cross_entropy(logits.cast(DType::F64), labels),
        false => cross_entropy(logits, labels),
    }
}

/// Training state of a model that starts from random weights.
///
/// Each epoch is one optimiser step on the whole training split. Its gradients are accumulated over micro-batches.
pub type ModelTraining = Trainer<NextTokenObjective>;

impl ModelTraining {
    /// Creates a model with random weights from `seed`. `device` must be without autodiff; training adds it.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if the task is invalid or the model does not fit the task, and
    /// [`TrainError::Model`] if the model's configuration is invalid.
    pub fn from_recipe(recipe: &TrainRecipe, seed: u64, device: &Device) -> Result<Self, TrainError> {
        let data = recipe.task.read(None)?;
        let device = device.clone().autodiff();
        let model = AnyTransformer::init(&recipe.model, &device)?;
        check_fits(&recipe.model, recipe.task, &model)?;
        let circuit = CircuitModel::new(whole_model(), initialize(model, seed), &[])?;
        let objective = NextTokenObjective { evaluation_batch: recipe.micro_batch.max(1) };
        Ok(Trainer::new(objective, circuit, Arc::new(data), recipe.schedule(), seed, device))
    }
}

/// Trains a model on arithmetic in a run folder. Resumes if the folder has a checkpoint.
///
/// A finished run writes the model in HF layout to the subfolder `model`. An invalid recipe is rejected before anything
/// is written.
///
/// # Errors
/// Returns errors of [`ModelTraining::from_recipe`] and [`Trainer::train`], and [`TrainError::Model`] if the model
/// cannot be written.
pub fn train_model(
    recipe: &TrainRecipe,
    seed: u64,
    folder: impl AsRef<Path>,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<(Outcome, Vec<Metrics>), TrainError> {
    let folder = folder.as_ref();
    let mut training = ModelTraining::from_recipe(recipe, seed, device)?;
    let (run, outcome, metrics) = training.train(recipe, "train".into(), folder, interrupt)?;
    if outcome == Outcome::Finished {
        training.circuit().base().save(run.path("model"))?;
    }
    Ok((outcome, metrics))
}

/// Checks that the vocabulary covers the task and that the model has no dropout.
fn check_fits(config: &serde_json::Value, task: Arithmetic, model: &AnyTransformer) -> Result<(), TrainError> {
    let vocab_size = config["vocab_size"].as_u64().unwrap_or_default() as usize;
    let expected = format!("the task has {} tokens", task.vocab_size());
    TrainError::check(vocab_size >= task.vocab_size(), "model.vocab_size", vocab_size, expected)?;
    let expected = "dropout is not supported: set embd_pdrop, attn_pdrop and resid_pdrop to 0";
    TrainError::check(model.dropout() <= 0.0, "model dropout", model.dropout(), expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Operation;
    use crate::recipe::OptimizerRecipe;
    use crate::train::Trainable;

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
        let mut training = ModelTraining::from_recipe(&tiny_recipe(micro_batch), 0, &Device::default()).unwrap();
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
            let error = ModelTraining::from_recipe(&recipe, 0, &Device::default()).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
