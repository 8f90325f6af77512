//! Golden cases of linear methods: trained probes, the minimum of a logistic regression, counterfactual embeddings.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::AdamW;
use ns_probe::{Classifier, counterfactual_embedding, logistic_regression, train_classifier};
use serde::Deserialize;
use serde_json::Value;

use super::compare::magnitude;
use super::inputs::{Inputs, settings};
use super::scalars::{compare_scalars, flags, number, scalars};
use super::{TensorComparison, Tensors, ToleranceKind::Absolute, compare_all, invalid, read_json, read_tensors};
use crate::error::TrainError;

/// The tensors that are inputs, in addition to `init.*` and `probe.*`. All others are expected results.
pub const LINEAR_CASE_INPUTS: [&str; 7] = ["x", "labels", "train_idx", "test_idx", "batches", "start", "target"];

/// The numbers in `case.json` that are expected results. The others are settings, or say how exact the data are.
pub const LINEAR_CASE_SCALARS: [&str; 5] =
    ["objective", "cross_entropy", "accuracy", "train_accuracy", "test_accuracy"];

pub(super) fn run(folder: &Path, device: &Device) -> Result<Vec<TensorComparison>, TrainError> {
    let case = read_json(&folder.join("case.json"))?;
    let mut tensors = read_tensors(&folder.join("tensors.safetensors"))?;
    let mut expected = Tensors::new();
    for name in LINEAR_CASE_SCALARS.into_iter().filter(|name| case.get(name).is_some()) {
        expected.extend(scalars(name, &case[name])?);
    }
    let kind = case["kind"].as_str().unwrap_or("missing");
    let produced = match kind {
        "trained_probe" => trained_probe(&settings(&case)?, &tensors, device)?,
        "logistic_optimum" => logistic_optimum(&case, &Inputs(&tensors))?,
        "counterfactual_embedding" => counterfactual(&settings(&case)?, &tensors, device)?,
        other => {
            let expected = "it must be trained_probe, logistic_optimum or counterfactual_embedding";
            return Err(invalid("kind", other, expected));
        }
    };
    tensors.retain(|name, _| !is_input(name));
    // The minimum is computed in f64, the others in the precision of the device.
    let tolerance = |name: &str, data: &TensorData| match name {
        _ if !data.dtype().is_float() => 0.0,
        _ if kind == "logistic_optimum" => 1e-5,
        _ if name.starts_with("grad.") => (1e-3 * magnitude(data)).max(1e-7),
        "losses" | "final.train_loss" | "final.test_loss" => 1e-4,
        _ => 1e-3,
    };
    let mut comparisons = compare_scalars(&expected, &produced);
    comparisons.extend(compare_all(&tensors, &produced, |name, data| (Absolute, tolerance(name, data))));
    Ok(comparisons)
}

fn is_input(name: &str) -> bool {
    LINEAR_CASE_INPUTS.contains(&name) || name.starts_with("init.") || name.starts_with("probe.")
}

/// Sizes and optimiser of a probe.
#[derive(Deserialize)]
struct ProbeCase {
    d: usize,
    classes: usize,
    intermediate_size: i64,
    steps: usize,
    optimizer: Optimizer,
}

/// Settings of AdamW, with PyTorch's names.
#[derive(Deserialize)]
struct Optimizer {
    lr: f64,
    betas: [f32; 2],
    eps: f32,
    weight_decay: f32,
}

impl Optimizer {
    fn adamw(&self) -> AdamW {
        AdamW { betas: self.betas, epsilon: self.eps, weight_decay: self.weight_decay }
    }
}

impl ProbeCase {
    /// The classifier with the parameters whose names start with `prefix`.
    fn classifier(&self, prefix: &str, tensors: &Tensors, device: &Device) -> Result<Classifier, TrainError> {
        // −1 is a linear probe.
        let intermediate_size = usize::try_from(self.intermediate_size).ok();
        let mut classifier = Classifier::new(self.d, intermediate_size, self.classes, 0, &device.clone().autodiff())?;
        let stripped = |(name, data): (&String, &TensorData)| Some((name.strip_prefix(prefix)?.into(), data.clone()));
        classifier.load_params(&tensors.iter().filter_map(stripped).collect())?;
        Ok(classifier)
    }
}

fn trained_probe(case: &ProbeCase, tensors: &Tensors, device: &Device) -> Result<Tensors, TrainError> {
    let inputs = Inputs(tensors);
    let (labels, batches) = (inputs.integers("labels")?, inputs.rows_of_indices("batches")?);
    let [train, test] = [inputs.indices("train_idx")?, inputs.indices("test_idx")?];
    let batches = batches.get(..case.steps).ok_or_else(|| invalid("batches", "too short", "each step needs one"))?;
    let vectors = Tensor::<2>::from_data(inputs.tensor("x", 2)?.clone(), device);
    let mut produced = Tensors::new();
    let init = case.classifier("init.", tensors, device)?;
    if let Some(first) = batches.first() {
        let loss = loss_of(&init, &vectors, &labels, first)?;
        let gradients = init.gradients(&loss.backward());
        produced.extend(gradients.into_iter().map(|(name, data)| (format!("grad.{name}"), data)));
    }
    let optimizer = &case.optimizer;
    let (probe, losses) = train_classifier(init, &vectors, &labels, batches, optimizer.adamw(), optimizer.lr)?;
    produced.insert("losses".into(), TensorData::from(losses.as_slice()));
    produced.extend(probe.params().into_iter().map(|(name, data)| (format!("final.{name}"), data)));
    for (set, rows) in [("train", &train), ("test", &test)] {
        let loss = loss_of(&probe, &vectors, &labels, rows)?;
        produced.insert(format!("final.{set}_loss"), loss.without_autodiff().into_data());
    }
    let logits = probe.forward(vectors).without_autodiff();
    let predictions: Vec<i64> = logits.clone().argmax(1).into_data().iter::<i64>().collect();
    for (set, rows) in [("train", &train), ("test", &test)] {
        produced.insert(format!("{set}_accuracy"), accuracy(&predictions, &labels, rows.iter().copied()));
    }
    produced.insert("predictions".into(), TensorData::new(predictions, [labels.len()]));
    produced.insert("final.logits".into(), logits.into_data());
    Ok(produced)
}

/// The mean cross entropy of some rows.
fn loss_of(probe: &Classifier, vectors: &Tensor<2>, labels: &[i64], rows: &[usize]) -> Result<Tensor<1>, TrainError> {
    let chosen: Option<Vec<i64>> = rows.iter().map(|row| labels.get(*row).copied()).collect();
    let chosen = chosen.ok_or_else(|| invalid("a list of rows", "out of range", "each must have a label"))?;
    let indices: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let indices = Tensor::from_data(TensorData::new(indices, [rows.len()]), &vectors.device());
    Ok(probe.loss(vectors.clone().select(0, indices), &chosen)?)
}

#[derive(Deserialize)]
struct LogisticCase {
    classes: usize,
    l2: f64,
}

fn logistic_optimum(case: &Value, inputs: &Inputs<'_>) -> Result<Tensors, TrainError> {
    let LogisticCase { classes, l2 } = settings(case)?;
    let x = inputs.tensor("x", 2)?;
    let (n, width, vectors) = (x.shape()[0], x.shape()[1], x.iter::<f64>().collect::<Vec<f64>>());
    let labels = inputs.integers("labels")?;
    let fit = logistic_regression(&vectors, &labels, classes, l2)?;
    let predictions = fit.predictions(&vectors)?;
    let matrix = |values: Vec<f64>, shape: [usize; 2]| TensorData::new(values, shape);
    Ok(Tensors::from([
        ("objective".into(), number(fit.objective)),
        ("cross_entropy".into(), number(fit.cross_entropy)),
        ("accuracy".into(), accuracy(&predictions, &labels, 0..n)),
        ("logits".into(), matrix(fit.logits(&vectors)?, [n, classes])),
        ("probabilities".into(), matrix(fit.probabilities(&vectors)?, [n, classes])),
        ("weight".into(), matrix(fit.weight, [classes, width])),
        ("bias".into(), TensorData::new(fit.bias, [classes])),
    ]))
}

fn counterfactual(case: &ProbeCase, tensors: &Tensors, device: &Device) -> Result<Tensors, TrainError> {
    let inputs = Inputs(tensors);
    let probe = case.classifier("probe.", tensors, device)?;
    let start = Tensor::<2>::from_data(inputs.tensor("start", 2)?.clone(), device);
    let (optimizer, target) = (&case.optimizer, inputs.integers("target")?);
    let found = counterfactual_embedding(&probe, start, &target, optimizer.adamw(), optimizer.lr, case.steps)?;
    Ok(Tensors::from([
        ("losses".into(), found.losses.into_data()),
        ("final".into(), found.vectors.into_data()),
        ("final.logits".into(), found.logits.into_data()),
        ("success".into(), flags(&found.is_success)),
    ]))
}

/// Share of the rows whose prediction is the label.
fn accuracy(predictions: &[i64], labels: &[i64], rows: impl ExactSizeIterator<Item = usize>) -> TensorData {
    let n = rows.len();
    let right = rows.filter(|row| predictions.get(*row) == labels.get(*row)).count();
    number(right as f64 / n.max(1) as f64)
}
