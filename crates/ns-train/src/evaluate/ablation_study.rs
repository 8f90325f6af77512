//! What a model does without its circuit, beside random controls of the same size.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};
use ns_circuit::{Ablation, CircuitError, CircuitModel, expand_layers};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::evaluate::accuracy;

/// What is ablated, and against what it is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AblationStudy {
    /// Random masks of the circuit's size for each kind of control.
    pub controls: usize,
    /// Whether each masked layer is also ablated alone.
    pub per_layer: bool,
    /// Named sets of masked layers, by name or pattern, that are ablated together.
    pub subsets: BTreeMap<String, Vec<String>>,
    /// Two answers whose scores are compared (agreement): accuracy between them, and the first's lead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<[usize; 2]>,
}

impl Default for AblationStudy {
    fn default() -> Self {
        Self { controls: 5, per_layer: false, subsets: BTreeMap::new(), answers: None }
    }
}

/// How a model behaves on some examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// Share of the examples whose answer has the highest score.
    pub accuracy: f64,
    /// Mean Kullback–Leibler divergence of its answers from the full model's, in nats.
    pub kl_to_full: f64,
    /// Share of the examples that prefer their answer to the other of two, among those whose answer is one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Mean lead of the right one of the two answers, in logits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_difference: Option<f64>,
}

/// Random masks of the same size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Controls {
    /// How many.
    pub n: usize,
    /// Mean accuracy.
    pub accuracy_mean: f64,
    /// Standard deviation.
    pub accuracy_sd: f64,
    /// Exact p-value of the circuit's ablation among them: the share of all masks, the circuit's with them, after
    /// which the model is no more accurate, `(1 + #{controls ≤ circuit}) / (1 + n)`.
    pub p_value: f64,
}

/// One row: a set of masked layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationRow {
    /// "all", a layer, or a subset's name.
    pub layers: String,
    /// Weights of the circuit in them.
    pub l0: f64,
    /// Weights that could be.
    pub l0_max: f64,
    /// The model with nothing but the circuit in these layers.
    pub circuit_only: Behaviour,
    /// With the circuit set to zero.
    pub zero_ablate: Behaviour,
    /// With the circuit's weights drawn anew.
    pub random_ablate: Behaviour,
    /// With as many random entries of the layers set to zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub randomly_sampled: Option<Controls>,
    /// The same from outside the circuit; none where it is larger than its complement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complement_sampled: Option<Controls>,
}

/// The whole study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationReport {
    /// The model as it is.
    pub full: Behaviour,
    /// One row for each set of layers; the first is of all.
    pub rows: Vec<AblationRow>,
}

/// Scores of a model on the examples, `[n, answers]`.
type Scores<'a, M> = dyn Fn(&M) -> Result<Tensor<2>, TrainError> + 'a;

impl AblationStudy {
    /// Ablates `circuit`, a model in evaluation mode, and measures `scores` against `labels`. The circuit is left
    /// without ablation and with all its masks on.
    ///
    /// # Errors
    /// [`TrainError::Circuit`] for layers that are not masked, [`TrainError::Setting`] for an answer that has no
    /// score, and what `scores` gives.
    pub fn run<M: Module + ModuleDisplay>(
        &self,
        circuit: &CircuitModel<M>,
        labels: &Tensor<1, Int>,
        scores: &Scores<'_, M>,
    ) -> Result<AblationReport, TrainError> {
        let full = scores(&circuit.unmasked())?;
        self.check_answers(full.dims()[1])?;
        let measured = Measured { study: self, labels, scores, full: full.clone() };
        let all: Vec<String> = circuit.layers().into_iter().map(|layer| layer.name).collect();
        let mut sets = vec![("all".to_string(), all.clone())];
        for (name, layers) in &self.subsets {
            sets.push((name.clone(), expand_layers(layers, all.iter().map(String::as_str))?));
        }
        if self.per_layer && all.len() > 1 {
            sets.extend(all.iter().map(|layer| (layer.clone(), vec![layer.clone()])));
        }
        let rows = sets.into_iter().map(|(name, layers)| measured.row(circuit, name, &layers));
        let rows = rows.collect::<Result<Vec<_>, _>>();
        circuit.set_ablation(Ablation::None)?;
        circuit.use_masks(true);
        Ok(AblationReport { full: measured.behaviour(full), rows: rows? })
    }

    fn check_answers(&self, n_answers: usize) -> Result<(), TrainError> {
        match self.answers.iter().flatten().find(|answer| **answer >= n_answers) {
            Some(answer) => Err(TrainError::Setting {
                setting: "answers",
                found: answer.to_string(),
                expected: format!("the model scores {n_answers}, counted from 0"),
            }),
            None => Ok(()),
        }
    }
}

struct Measured<'a, M> {
    study: &'a AblationStudy,
    labels: &'a Tensor<1, Int>,
    scores: &'a Scores<'a, M>,
    full: Tensor<2>,
}

impl<M: Module + ModuleDisplay> Measured<'_, M> {
    fn row(&self, circuit: &CircuitModel<M>, layers: String, names: &[String]) -> Result<AblationRow, TrainError> {
        circuit.use_masks(false);
        circuit.use_masks_of(true, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let under = |ablation| -> Result<Behaviour, TrainError> {
            circuit.set_ablation(ablation)?;
            Ok(self.behaviour((self.scores)(circuit.model()?)?))
        };
        let (circuit_only, random_ablate) = (under(Ablation::None)?, under(Ablation::RandomAblate)?);
        let zero_ablate = under(Ablation::ZeroAblate)?;
        let controls = |ablation| self.controls(circuit, ablation, zero_ablate.accuracy);
        let (randomly_sampled, complement_sampled) =
            (controls(Ablation::RandomlySampled)?, controls(Ablation::ComplementSampled)?);
        let sizes = circuit.l0().layers.into_iter().filter(|layer| names.contains(&layer.name));
        let (l0, l0_max) = sizes.fold((0.0, 0.0), |(l0, max), layer| (l0 + layer.l0, max + layer.max));
        Ok(AblationRow {
            layers,
            l0,
            l0_max,
            circuit_only,
            zero_ablate,
            random_ablate,
            randomly_sampled,
            complement_sampled,
        })
    }

    /// `None` without controls, or where the circuit is larger than what they are drawn from.
    fn controls(
        &self,
        circuit: &CircuitModel<M>,
        ablation: Ablation,
        ablated: f64,
    ) -> Result<Option<Controls>, TrainError> {
        match circuit.set_ablation(ablation) {
            Err(CircuitError::ComplementTooSmall { .. }) => return Ok(None),
            other => other?,
        }
        let mut accuracies = Vec::with_capacity(self.study.controls);
        for sample in 0..self.study.controls {
            circuit.set_sample(sample as u64)?;
            accuracies.push(accuracy((self.scores)(circuit.model()?)?, self.labels.clone()));
        }
        Ok(Controls::new(&accuracies, ablated))
    }

    fn behaviour(&self, scores: Tensor<2>) -> Behaviour {
        let (full, other) = (log_softmax(self.full.clone(), 1), log_softmax(scores.clone(), 1));
        let [n, _] = scores.dims();
        let divergence: f64 = (full.clone().exp() * (full - other)).sum().into_scalar();
        let two = self.study.answers.and_then(|answers| self.two_answers(&scores, answers));
        Behaviour {
            accuracy: accuracy(scores, self.labels.clone()),
            kl_to_full: divergence / n as f64,
            agreement: two.map(|(agreement, _)| agreement),
            logit_difference: two.map(|(_, difference)| difference),
        }
    }

    /// Agreement and mean lead over the examples whose answer is one of the two; `None` if there is none.
    fn two_answers(&self, scores: &Tensor<2>, answers: [usize; 2]) -> Option<(f64, f64)> {
        let [_, width] = scores.dims();
        let (scores, labels): (TensorData, TensorData) = (scores.to_data(), self.labels.to_data());
        let scores: Vec<f64> = scores.iter().collect();
        let lead = |(row, label): (&[f64], i64)| {
            let place = answers.iter().position(|answer| *answer as i64 == label)?;
            Some(row[answers[place]] - row[answers[1 - place]])
        };
        let leads: Vec<f64> = scores.chunks(width).zip(labels.iter::<i64>()).filter_map(lead).collect();
        let n = leads.len() as f64;
        let right = leads.iter().filter(|lead| **lead > 0.0).count() as f64;
        (!leads.is_empty()).then(|| (right / n, leads.iter().sum::<f64>() / n))
    }
}

impl Controls {
    /// `None` without a control.
    fn new(accuracies: &[f64], ablated: f64) -> Option<Self> {
        let (accuracy_mean, accuracy_sd) = mean_and_sd(accuracies)?;
        let as_bad = accuracies.iter().filter(|accuracy| **accuracy <= ablated).count();
        let n = accuracies.len();
        Some(Self { n, accuracy_mean, accuracy_sd, p_value: (1 + as_bad) as f64 / (1 + n) as f64 })
    }
}

/// Sample standard deviation; 0 for a single value.
fn mean_and_sd(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (squares / (n - 1.0).max(1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;
    use ns_circuit::{CircuitConfig, MaskMethod, discover_targets};

    /// Two scores, of which each is one input through one weight.
    #[derive(Module, Debug)]
    struct Scores2 {
        layer: Linear,
    }

    /// Both weights masked; the mask keeps the first alone.
    fn circuit() -> CircuitModel<Scores2> {
        let device = Device::default();
        let layer = LinearConfig::new(2, 2).with_bias(false).init(&device);
        let weight = layer.weight.map(|_| Tensor::from_floats([[2.0, 0.0], [0.0, 2.0]], &device));
        let model = Scores2 { layer: Linear { weight, bias: None } };
        let config = CircuitConfig {
            target_layers: vec!["layer".into()],
            mask_method: MaskMethod::ContinuousSparsification { mask_init_value: 1.0 },
            ..CircuitConfig::default()
        };
        let targets = discover_targets(&model);
        let logits = TensorData::from([[1.0_f32, -1.0], [-1.0, -1.0]]);
        let masks = BTreeMap::from([("layer.weight_mask_params".to_string(), logits)]);
        CircuitModel::new(config, model, &targets).unwrap().load_mask_params(&masks).unwrap().valid()
    }

    /// The first input is of class 0, the second of class 1.
    fn study(study: &AblationStudy) -> Result<AblationReport, TrainError> {
        let device = Device::default();
        let x = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([0, 1], &device);
        study.run(&circuit(), &labels, &|model: &Scores2| Ok(model.layer.forward(x.clone())))
    }

    #[test]
    fn the_circuit_alone_and_cut_out_by_hand() {
        let report = study(&AblationStudy { answers: Some([0, 1]), ..Default::default() }).unwrap();
        let full = report.full;
        assert_eq!(
            (full.accuracy, full.kl_to_full, full.agreement, full.logit_difference),
            (1.0, 0.0, Some(1.0), Some(2.0))
        );
        let row = &report.rows[0];
        assert_eq!((row.layers.as_str(), row.l0, row.l0_max), ("all", 1.0, 4.0));
        // Alone, the second example scores [0, 0]: a lead of 0 is no agreement, and the lowest class wins a tie.
        assert_eq!((row.circuit_only.accuracy, row.circuit_only.logit_difference), (0.5, Some(1.0)));
        assert_eq!((row.zero_ablate.agreement, row.zero_ablate.logit_difference), (Some(0.5), Some(1.0)));
        // KL from softmax [2, 0] to the uniform distribution, for one of two examples.
        let p = 1.0 / (1.0 + (-2.0_f64).exp());
        let divergence = (p * p.ln() + (1.0 - p) * (1.0 - p).ln() + 2.0_f64.ln()) / 2.0;
        assert!((row.zero_ablate.kl_to_full - divergence).abs() < 1e-6, "{}", row.zero_ablate.kl_to_full);
    }

    #[test]
    fn p_values_count_the_circuit_among_its_controls() {
        let controls = Controls::new(&[0.5, 0.9, 0.2, 0.8], 0.5).unwrap();
        assert_eq!((controls.n, controls.p_value), (4, 3.0 / 5.0));
        assert_eq!(Controls::new(&[0.9, 0.9], 0.1).unwrap().p_value, 1.0 / 3.0);
        assert_eq!(Controls::new(&[], 0.1), None);
    }

    #[test]
    fn subsets_and_layers_have_rows_and_unknown_ones_are_refused() {
        let subsets = BTreeMap::from([("mine".to_string(), vec!["layer".to_string()])]);
        let report = study(&AblationStudy { subsets, per_layer: true, ..Default::default() }).unwrap();
        let names: Vec<&str> = report.rows.iter().map(|row| row.layers.as_str()).collect();
        assert_eq!(names, ["all", "mine"], "a single layer is the whole");
        let subsets = BTreeMap::from([("bad".to_string(), vec!["lair".to_string()])]);
        let error = study(&AblationStudy { subsets, ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("lair") && error.to_string().contains("layer"), "{error}");
    }

    #[test]
    fn answers_without_a_score_are_refused() {
        let error = study(&AblationStudy { answers: Some([0, 2]), ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("answers is 2"), "{error}");
    }

    #[test]
    fn mean_and_sample_deviation() {
        assert_eq!(mean_and_sd(&[]), None);
        assert_eq!(mean_and_sd(&[0.5]), Some((0.5, 0.0)));
        let (mean, sd) = mean_and_sd(&[1.0, 2.0, 3.0]).unwrap();
        assert!((mean - 2.0).abs() < 1e-12 && (sd - 1.0).abs() < 1e-12);
    }
}
