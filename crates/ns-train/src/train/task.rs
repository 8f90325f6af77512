//! Training on the model's own task: of the model, of a circuit in it, or of both (NeuroSurgeon's `CircuitModel`).

use burn::module::Module;
use burn::tensor::{DType, Tensor};
use ns_circuit::{CircuitModel, Losses};
use ns_models::{AnyModel, Head, Labels, Model, cross_entropy};
use ns_probe::{ProbeBatch, output_masks};

use super::objective::Objective;
use super::trainer::Trainer;
use crate::data::{Dataset, label_tensor};
use crate::error::TrainError;
use crate::evaluate::{answer_scores, count_right, label_scores};

/// Examples per forward pass of an evaluation, if the recipe sets no micro-batch.
const EVALUATION_BATCH: usize = 128;
/// Most texts per forward pass of an evaluation that predicts their tokens: each token has logits of the whole
/// vocabulary.
const TOKEN_BATCH: usize = 32;

/// Minimises the loss of the model's head, or for a language model the cross-entropy of the predicted tokens.
pub struct TaskObjective {
    /// Whether the cross-entropy of a language model is in f64: close to a loss of zero, f32 gradients are mostly
    /// rounding noise.
    precise: bool,
    /// Whether the tokens of texts are predicted.
    pub(super) predicts_tokens: bool,
    /// Examples per forward pass of an evaluation.
    evaluation_batch: usize,
}

/// Training state of a model with masks. Without masks the model itself is trained.
pub type TaskTraining = Trainer<TaskObjective>;

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
        Ok(circuit.with_l0(self.scores_and_loss(&circuit.model()?, batch)?.1))
    }

    fn evaluate(&self, circuit: &Self::Module, data: &dyn Dataset) -> Result<Vec<(&'static str, f64)>, TrainError> {
        let circuit = circuit.valid();
        let model = circuit.model()?;
        let test = self.measure(&model, data, &data.split().test)?;
        let mut measured = vec![("test_loss", test.loss), ("test_accuracy", test.accuracy)];
        if self.predicts_tokens {
            measured.push(("test_perplexity", test.loss.exp()));
        }
        if self.precise {
            measured.insert(0, ("train_accuracy", self.measure(&model, data, &data.split().train)?.accuracy));
        }
        Ok(measured)
    }
}

/// Mean loss and accuracy on a set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LossAndAccuracy {
    pub(super) loss: f64,
    pub(super) accuracy: f64,
}

impl TaskObjective {
    /// `predicts_tokens` says whether a language model predicts the tokens of texts; otherwise `trains_model` says
    /// whether the weights of the model are trained.
    pub(super) fn new(trains_model: bool, predicts_tokens: bool, micro_batch: Option<usize>) -> Self {
        Self {
            precise: trains_model && !predicts_tokens,
            predicts_tokens,
            evaluation_batch: micro_batch.unwrap_or(EVALUATION_BATCH),
        }
    }

    /// Measures a model without autodiff on some rows.
    pub(super) fn measure(
        &self,
        model: &AnyModel,
        data: &dyn Dataset,
        rows: &[usize],
    ) -> Result<LossAndAccuracy, TrainError> {
        let (mut total, mut right, mut count) = (0.0, 0, 0);
        let size = if self.predicts_tokens { self.evaluation_batch.min(TOKEN_BATCH) } else { self.evaluation_batch };
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| data.batching_length(*row));
        for rows in rows.chunks(size) {
            let batch = data.batch(rows, &model.device())?;
            let (scores, loss) = self.scores_and_loss(model, &batch)?;
            total += loss.into_scalar::<f64>() * batch.labels.len() as f64;
            count += batch.labels.len();
            right += count_right(scores, label_tensor(batch.labels, &model.device()));
        }
        Ok(LossAndAccuracy { loss: total / count as f64, accuracy: right as f64 / count as f64 })
    }

    /// The scores for the labels of a batch, `[labels, answers]`, and their mean loss, `[1]`. Neuron masks scale outputs.
    fn scores_and_loss(&self, model: &AnyModel, batch: &ProbeBatch) -> Result<(Tensor<2>, Tensor<1>), TrainError> {
        let labels = label_tensor(batch.labels.clone(), &model.device());
        if model.head() == Head::TokenClassification || model.head().is_language_model() {
            let scores = answer_scores(model, batch, output_masks())?;
            let precise = self.precise && model.head() == Head::Lm && model.device().supports_dtype(DType::F64);
            let loss = cross_entropy(if precise { scores.clone().cast(DType::F64) } else { scores.clone() }, labels);
            return Ok((scores, loss));
        }
        let logits = model.logits_with(&batch.inputs, output_masks())?;
        let scores = label_scores(model, logits.clone(), batch)?;
        Ok((scores, model.task_loss(&batch.inputs, logits, &Labels::Classes(labels))?.loss))
    }
}
