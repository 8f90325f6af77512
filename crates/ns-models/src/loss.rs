//! Losses of heads, as HF computes them.

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};

use crate::config::{Head, ProblemType};
use crate::error::ModelError;
use crate::inputs::{Logits, invalid};

/// Label that HF leaves out of a loss (`ignore_index`).
pub const IGNORED_LABEL: i64 = -100;

/// What a head should say.
#[derive(Clone, Debug)]
pub enum Labels {
    /// One class a sequence or image, `[batch]`.
    Classes(Tensor<1, Int>),
    /// One class a token, `[batch, seq]`; [`IGNORED_LABEL`] where none counts. For a language model the token ids
    /// themselves: it is the loss that shifts them.
    Tokens(Tensor<2, Int>),
    /// Values of a regression or, as 0 and 1, of several classes that do not exclude each other, `[batch, labels]`.
    Values(Tensor<2>),
}

/// Loss of a head on a batch, with what it said.
#[derive(Clone, Debug)]
pub struct TaskOutput {
    /// Mean loss, `[1]`.
    pub loss: Tensor<1>,
    /// Scores of the head.
    pub logits: Logits,
}

/// Mean cross-entropy, in the precision of `logits`.
///
/// # Shapes
/// - logits: `[n, classes]`
/// - labels: `[n]`
/// - output: `[1]`
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let [n, _] = logits.dims();
    log_softmax(logits, 1).gather(1, labels.reshape([n, 1])).mean().neg()
}

/// The loss that HF's `forward(labels=…)` gives for this head.
///
/// # Shapes
/// - attention_mask: `[batch, seq]`; padding does not count for ELECTRA's discriminator
/// - output: `[1]`
///
/// # Errors
/// [`ModelError::InvalidInput`] for labels of another kind or shape than the head's, a class that it does not have,
/// or when no label counts.
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
                return Err(invalid("sequence length", seq, "a next token is needed for the loss"));
            }
            let logits = logits.slice_dim(1, 0..seq - 1).reshape([batch * (seq - 1), classes]);
            counted_cross_entropy(logits, labels.clone().slice_dim(1, 1..seq).to_data())
        }
        (Logits::Replaced(logits), Labels::Tokens(labels)) => {
            check_shape(&labels.dims(), &logits.dims())?;
            replaced_token_loss(logits, labels, attention_mask)
        }
        (Logits::Sequences(logits), labels) => sequence_loss(problem, logits, labels),
        (_, labels) => Err(invalid("labels", kind(labels), format!("a {} wants one a token", head.name()))),
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
                (false, _) => Err(invalid("labels", kind(labels), "problem_type asks for one class each")),
            }
        }
        _ => {
            let expected = match problem {
                Some(ProblemType::Regression) | Some(ProblemType::MultiLabelClassification) | None if classes == 1 => {
                    "the head gives a value: labels are values".to_string()
                }
                Some(problem) => format!("problem_type is {problem:?}"),
                None => "a classification wants one class, or values, a sequence".to_string(),
            };
            Err(invalid("labels", kind(labels), expected))
        }
    }
}

/// ELECTRA's: over real tokens only.
fn replaced_token_loss(
    logits: Tensor<2>,
    labels: &Tensor<2, Int>,
    attention_mask: Option<&Tensor<2, Int>>,
) -> Result<Tensor<1>, ModelError> {
    let data = labels.to_data();
    if let Some(label) = data.iter::<i64>().find(|label| ![0, 1].contains(label)) {
        return Err(invalid("label", label, "a token is original (0) or replaced (1)"));
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

/// `max(x, 0) − x y + ln(1 + e^{−|x|})`, which does not overflow.
fn binary_cross_entropy<const D: usize>(logits: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
    let magnitude = logits.clone().abs();
    logits.clone().clamp_min(0.0) - logits * targets + magnitude.neg().exp().log1p()
}

/// Mean over the labels that count.
fn counted_cross_entropy(logits: Tensor<2>, labels: TensorData) -> Result<Tensor<1>, ModelError> {
    let [n, classes] = logits.dims();
    let device = logits.device();
    let labels: Vec<i64> = labels.iter().collect();
    let counted = labels.iter().enumerate().filter(|(_, label)| **label != IGNORED_LABEL);
    let (rows, counted): (Vec<i64>, Vec<i64>) = counted.map(|(row, label)| (row as i64, *label)).unzip();
    if let Some(label) = counted.iter().find(|label| **label < 0 || **label >= classes as i64) {
        let expected = format!("the head has {classes} classes, counted from 0, and {IGNORED_LABEL} is left out");
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
        false => Err(invalid("labels", format!("{found:?}"), format!("the head's scores ask for {expected:?}"))),
    }
}

fn no_label() -> ModelError {
    invalid("labels", "none that counts", "a mean needs at least one")
}

fn kind(labels: &Labels) -> &'static str {
    match labels {
        Labels::Classes(_) => "one class each",
        Labels::Tokens(_) => "one class a token",
        Labels::Values(_) => "values",
    }
}
