//! Losses of the heads, as in HF.

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};

use crate::config::{Head, ProblemType};
use crate::error::ModelError;
use crate::inputs::{Logits, invalid};

/// Label that is excluded from the loss (`ignore_index` in HF).
pub const IGNORED_LABEL: i64 = -100;

/// The labels of a batch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Labels {
    /// One class per sequence or image, `[batch]`.
    Classes(Tensor<1, Int>),
    /// One class per token, `[batch, seq]`. A token with [`IGNORED_LABEL`] is excluded from the loss. For a language
    /// model, these are the token ids; the loss shifts them by one position.
    Tokens(Tensor<2, Int>),
    /// Regression targets, or 0 or 1 for each class of a multi-label classification, `[batch, labels]`.
    Values(Tensor<2>),
}

/// Loss and logits of a head on a batch.
#[derive(Clone, Debug)]
pub struct TaskOutput {
    /// Mean loss, `[1]`.
    pub loss: Tensor<1>,
    /// Logits of the head.
    pub logits: Logits,
}

/// Computes the mean cross-entropy, in the precision of `logits`.
///
/// # Shapes
/// - logits: `[n, classes]`
/// - labels: `[n]`
/// - output: `[1]`
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let [n, _] = logits.dims();
    log_softmax(logits, 1).gather(1, labels.reshape([n, 1])).mean().neg()
}

/// Computes the loss that HF's `forward(labels=…)` returns for this head.
///
/// `attention_mask` is only used for ELECTRA's discriminator, whose loss excludes padding.
///
/// # Shapes
/// - attention_mask: `[batch, seq]`, 1 for real tokens and 0 for padding
/// - output: `[1]`
///
/// # Errors
/// Returns [`ModelError::InvalidInput`] if the labels have the wrong kind or shape for the head, if a class is out of
/// range, or if all labels are excluded from the loss.
pub fn task_loss(
    head: Head,
    problem: Option<ProblemType>,
    logits: Logits,
    labels: &Labels,
    attention_mask: Option<&Tensor<2, Int>>,
) -> Result<Tensor<1>, ModelError> {
    match (logits, labels) {
        (Logits::Tokens(logits), Labels::Tokens(labels)) => {
            let [batch, seq, classes] = logits.dims();
            check_shape(&labels.dims(), &[batch, seq])?;
            if head != Head::Lm {
                return counted_cross_entropy(logits.reshape([batch * seq, classes]), labels.to_data());
            }
            if seq < 2 {
                return Err(invalid("sequence length", seq, "the loss needs at least 2 tokens per sequence"));
            }
            let logits = logits.slice_dim(1, 0..seq - 1).reshape([batch * (seq - 1), classes]);
            counted_cross_entropy(logits, labels.clone().slice_dim(1, 1..seq).to_data())
        }
        (Logits::Replaced(logits), Labels::Tokens(labels)) => {
            check_shape(&labels.dims(), &logits.dims())?;
            replaced_token_loss(logits, labels, attention_mask)
        }
        (Logits::Sequences(logits), labels) => sequence_loss(problem, logits, labels),
        (_, labels) => Err(invalid("labels", kind(labels), format!("a {} needs one class per token", head.name()))),
    }
}

fn sequence_loss(problem: Option<ProblemType>, logits: Tensor<2>, labels: &Labels) -> Result<Tensor<1>, ModelError> {
    let [batch, classes] = logits.dims();
    match (labels, problem) {
        (Labels::Classes(labels), None | Some(ProblemType::SingleLabelClassification)) if classes > 1 => {
            check_shape(&labels.dims(), &[batch])?;
            counted_cross_entropy(logits, labels.to_data())
        }
        (Labels::Values(values), problem) => {
            check_shape(&values.dims(), &[batch, classes])?;
            let regression = problem.map_or(classes == 1, |problem| problem == ProblemType::Regression);
            match (regression, problem) {
                (true, _) => Ok((logits - values.clone()).square().mean()),
                (false, None | Some(ProblemType::MultiLabelClassification)) => {
                    Ok(binary_cross_entropy(logits, values.clone()).mean())
                }
                (false, _) => Err(invalid("labels", kind(labels), "problem_type requires one class per input")),
            }
        }
        _ => {
            let expected = match problem {
                Some(ProblemType::Regression) | Some(ProblemType::MultiLabelClassification) | None if classes == 1 => {
                    "a head with one output needs values as labels".to_string()
                }
                Some(problem) => format!("problem_type is {problem:?}"),
                None => "a classification needs one class or several values per input".to_string(),
            };
            Err(invalid("labels", kind(labels), expected))
        }
    }
}

/// The loss of ELECTRA's discriminator, averaged over real tokens.
fn replaced_token_loss(
    logits: Tensor<2>,
    labels: &Tensor<2, Int>,
    attention_mask: Option<&Tensor<2, Int>>,
) -> Result<Tensor<1>, ModelError> {
    let data = labels.to_data();
    if let Some(label) = data.iter::<i64>().find(|label| ![0, 1].contains(label)) {
        return Err(invalid("label", label, "it must be 0 (original token) or 1 (replaced token)"));
    }
    let losses = binary_cross_entropy(logits, labels.clone().float());
    let Some(mask) = attention_mask else {
        return Ok(losses.mean());
    };
    let counted = mask.to_data().iter::<i64>().filter(|real| *real == 1).count();
    if counted == 0 {
        return Err(no_label());
    }
    Ok((losses * mask.clone().equal_elem(1).float()).sum() / counted as f64)
}

/// Elementwise binary cross-entropy with logits, `max(x, 0) − x y + ln(1 + e^{−|x|})`. This form does not overflow.
fn binary_cross_entropy<const D: usize>(logits: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
    let magnitude = logits.clone().abs();
    logits.clone().clamp_min(0.0) - logits * targets + magnitude.neg().exp().log1p()
}

/// Mean cross-entropy over the labels that are not [`IGNORED_LABEL`].
fn counted_cross_entropy(logits: Tensor<2>, labels: TensorData) -> Result<Tensor<1>, ModelError> {
    let [n, classes] = logits.dims();
    let device = logits.device();
    let labels: Vec<i64> = labels.iter().collect();
    let counted = labels.iter().enumerate().filter(|(_, label)| **label != IGNORED_LABEL);
    let (rows, counted): (Vec<i64>, Vec<i64>) = counted.map(|(row, label)| (row as i64, *label)).unzip();
    if let Some(label) = counted.iter().find(|label| **label < 0 || **label >= classes as i64) {
        let expected = format!("it must be in 0..{classes}, or {IGNORED_LABEL} to exclude it from the loss");
        return Err(invalid("label", label, expected));
    }
    if counted.is_empty() {
        return Err(no_label());
    }
    let m = counted.len();
    let logits = match m == n {
        true => logits,
        false => logits.select(0, Tensor::from_data(TensorData::new(rows, [m]), &device)),
    };
    Ok(cross_entropy(logits, Tensor::from_data(TensorData::new(counted, [m]), &device)))
}

fn check_shape(found: &[usize], expected: &[usize]) -> Result<(), ModelError> {
    match found == expected {
        true => Ok(()),
        false => Err(invalid("labels", format!("{found:?}"), format!("the logits of the head require {expected:?}"))),
    }
}

fn no_label() -> ModelError {
    invalid("number of labels", 0, "the mean loss needs at least one label that is not excluded from it")
}

fn kind(labels: &Labels) -> &'static str {
    match labels {
        Labels::Classes(_) => "one class per input",
        Labels::Tokens(_) => "one class per token",
        Labels::Values(_) => "one or more values per input",
    }
}
