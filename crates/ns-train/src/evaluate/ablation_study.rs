//! The ablation study: how a model behaves with its circuit ablated, compared with random masks of the circuit's size.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};
use ns_circuit::{Ablation, CircuitError, CircuitModel, ModelVariant, expand_layers};
use serde::{Deserialize, Serialize};

use super::accuracy;
use super::behaviour::{Behaviour, Controls, Margin, Reference};
use crate::error::TrainError;
use crate::recipe::check_controls;

/// Settings of an ablation study: which sets of layers are ablated, and how many random controls each one gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AblationStudy {
    /// Number of random masks of the circuit's size, for each of the two kinds of control. At most 1,000,000.
    pub controls: usize,
    /// Whether each masked layer is also ablated on its own.
    pub per_layer: bool,
    /// Named sets of masked layers that are ablated together. Layers are given by name or pattern.
    pub subsets: BTreeMap<String, Vec<String>>,
    /// Indices of two answers to compare with each other, e.g. the singular and the plural form of a verb. Adds
    /// [`Behaviour::agreement`] and [`Behaviour::logit_difference`] to the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<[usize; 2]>,
    /// Whether [`Behaviour::logit_difference`] is measured among all answers.
    pub logit_difference: bool,
}

impl Default for AblationStudy {
    fn default() -> Self {
        Self { controls: 5, per_layer: false, subsets: BTreeMap::new(), answers: None, logit_difference: false }
    }
}

/// Results for one set of masked layers. Masks of other layers are off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationRow {
    /// "all", the name of a layer, or the name of a subset.
    pub layers: String,
    /// Number of weights of these layers in the circuit.
    pub l0: f64,
    /// Number of masked weights of these layers.
    pub l0_max: f64,
    /// Only the circuit is kept; all other weights of these layers are zero.
    pub circuit_only: Behaviour,
    /// The circuit's weights are zero.
    pub zero_ablate: Behaviour,
    /// The circuit's weights are replaced by freshly initialised ones.
    pub random_ablate: Behaviour,
    /// As many randomly sampled weights (or neurons) of these layers are zero. `None` without controls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub randomly_sampled: Option<Controls>,
    /// As many weights (or neurons) are zero, sampled outside the circuit. `None` without controls, and if the circuit
    /// is larger than its complement in one of these layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complement_sampled: Option<Controls>,
}

/// Results of an ablation study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationReport {
    /// The model without masks.
    pub full: Behaviour,
    /// One row per set of layers. The first row covers all masked layers.
    pub rows: Vec<AblationRow>,
}

/// Computes the scores of a model on the examples, `[n, answers]`.
type Scores<'a, M> = dyn Fn(&M) -> Result<Tensor<2>, TrainError> + 'a;

impl AblationStudy {
    /// Runs the study on `circuit`, which must be in evaluation mode.
    ///
    /// # Shapes
    /// - labels: `[n]`, indices of the right answers
    /// - scores: returns `[n, answers]` for a model
    ///
    /// # Errors
    /// Returns [`TrainError::Circuit`] if a subset names a layer that is not masked, [`TrainError::Setting`] if
    /// [`answers`](Self::answers) contains an index without a score or there are too many
    /// [`controls`](Self::controls), and errors of `scores`.
    pub fn run<M: Module + ModuleDisplay>(
        &self,
        circuit: &CircuitModel<M>,
        labels: &Tensor<1, Int>,
        scores: &Scores<'_, M>,
    ) -> Result<AblationReport, TrainError> {
        check_controls(self.controls)?;
        let full = scores(&circuit.model_as(ModelVariant::WholeModel)?)?;
        self.check_answers(full.dims()[1])?;
        let reference = Reference::new(labels.to_data().iter::<i64>().collect(), full.clone());
        let measurement = Measurement { study: self, labels, scores, reference };
        let all: Vec<String> = circuit.layers().into_iter().map(|layer| layer.name).collect();
        let mut sets = vec![("all".to_string(), all.clone())];
        for (name, layers) in &self.subsets {
            sets.push((name.clone(), expand_layers(layers, all.iter().map(String::as_str))?));
        }
        if self.per_layer && all.len() > 1 {
            sets.extend(all.iter().map(|layer| (layer.clone(), vec![layer.clone()])));
        }
        let mut circuit = circuit.clone();
        let rows = sets.into_iter().map(|(name, layers)| measurement.row(&mut circuit, name, &layers));
        Ok(AblationReport { rows: rows.collect::<Result<_, _>>()?, full: measurement.behaviour(full) })
    }

    fn check_answers(&self, n_answers: usize) -> Result<(), TrainError> {
        let expected = format!("the model has {n_answers} answers, counted from 0");
        let mut answers = self.answers.iter().flatten();
        answers.try_for_each(|answer| TrainError::check(*answer < n_answers, "answers", answer, expected.as_str()))
    }
}

/// The inputs that all rows of a study share.
struct Measurement<'a, M> {
    study: &'a AblationStudy,
    labels: &'a Tensor<1, Int>,
    scores: &'a Scores<'a, M>,
    reference: Reference,
}

impl<M: Module + ModuleDisplay> Measurement<'_, M> {
    /// Ablates the layers `names`.
    fn row(&self, circuit: &mut CircuitModel<M>, layers: String, names: &[String]) -> Result<AblationRow, TrainError> {
        for layer in circuit.layers() {
            circuit.use_masks_of(false, &[&layer.name])?;
        }
        circuit.use_masks_of(true, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let of = |variant| -> Result<Behaviour, TrainError> {
            Ok(self.behaviour((self.scores)(&circuit.model_as(variant)?)?))
        };
        let circuit_only = of(ModelVariant::CircuitOnly)?;
        let random_ablate = of(ModelVariant::Ablated(Ablation::RandomAblate))?;
        let zero_ablate = of(ModelVariant::Ablated(Ablation::ZeroAblate))?;
        let mut controls = |ablation| self.controls(circuit, ablation, &zero_ablate);
        let (randomly_sampled, complement_sampled) =
            (controls(Ablation::RandomlySampled)?, controls(Ablation::ComplementSampled)?);
        let sizes = circuit.l0().layers.into_iter().filter(|layer| names.contains(&layer.name));
        let (l0, l0_max) = sizes.fold((0, 0), |(l0, max), layer| (l0 + layer.weights, max + layer.max_weights));
        Ok(AblationRow {
            layers,
            l0: l0 as f64,
            l0_max: l0_max as f64,
            circuit_only,
            zero_ablate,
            random_ablate,
            randomly_sampled,
            complement_sampled,
        })
    }

    /// The model with random masks ablated. `None` without controls, and if a layer's complement is too small to
    /// sample from.
    fn controls(
        &self,
        circuit: &mut CircuitModel<M>,
        ablation: Ablation,
        circuit_ablated: &Behaviour,
    ) -> Result<Option<Controls>, TrainError> {
        match circuit.set_variant(ModelVariant::Ablated(ablation)) {
            Err(CircuitError::ComplementTooSmall { .. }) => return Ok(None),
            other => other?,
        }
        let mut controls = Vec::new();
        for sample in 0..self.study.controls {
            circuit.set_sample(sample as u64)?;
            controls.push(self.behaviour((self.scores)(&circuit.model()?)?));
        }
        Ok(Controls::new(&controls, circuit_ablated))
    }

    fn behaviour(&self, scores: Tensor<2>) -> Behaviour {
        let margin = match (self.study.answers, self.study.logit_difference) {
            (Some(answers), _) => Margin::Pair(answers),
            (None, true) => Margin::All,
            (None, false) => Margin::Off,
        };
        Behaviour::new(scores.clone(), accuracy(scores, self.labels.clone()), &self.reference, margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, TensorData};
    use ns_circuit::{CircuitConfig, MaskMethod, discover_targets};

    /// A diagonal linear layer: each score is one input times one weight.
    #[derive(Module, Debug)]
    struct Diagonal {
        layer: Linear,
    }

    /// A circuit that keeps only the first weight of the diagonal.
    fn circuit() -> CircuitModel<Diagonal> {
        let device = Device::default();
        let layer = LinearConfig::new(2, 2).with_bias(false).init(&device);
        let weight = layer.weight.map(|_| Tensor::from_floats([[2.0, 0.0], [0.0, 2.0]], &device));
        let model = Diagonal { layer: Linear { weight, bias: None } };
        let config = CircuitConfig {
            target_layers: vec!["layer".into()],
            mask_method: MaskMethod::ContinuousSparsification { mask_init_value: 1.0 },
            ..CircuitConfig::default()
        };
        let targets = discover_targets(&model);
        let logits = TensorData::from([[1.0_f32, -1.0], [-1.0, -1.0]]);
        let masks = BTreeMap::from([("layer.weight_mask_params".to_string(), logits)]);
        let mut circuit = CircuitModel::new(config, model, &targets).unwrap();
        circuit.load_mask_params(&masks).unwrap();
        circuit.valid()
    }

    /// Runs a study on two one-hot inputs: the first has class 0, the second class 1.
    fn study(study: &AblationStudy) -> Result<AblationReport, TrainError> {
        let device = Device::default();
        let x = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([0, 1], &device);
        study.run(&circuit(), &labels, &|model: &Diagonal| Ok(model.layer.forward(x.clone())))
    }

    #[test]
    fn circuit_alone_and_ablated_match_values_computed_by_hand() {
        let report = study(&AblationStudy { answers: Some([0, 1]), ..Default::default() }).unwrap();
        let full = report.full;
        assert_eq!(
            (full.accuracy, full.kl_to_full, full.agreement, full.logit_difference),
            (1.0, 0.0, Some(1.0), Some(2.0))
        );
        let row = &report.rows[0];
        assert_eq!((row.layers.as_str(), row.l0, row.l0_max), ("all", 1.0, 4.0));
        // In the circuit alone the second example scores [0, 0]: a difference of 0 does not count as agreement, and a
        // tie goes to the lowest class.
        assert_eq!((row.circuit_only.accuracy, row.circuit_only.logit_difference), (0.5, Some(1.0)));
        assert_eq!((row.zero_ablate.agreement, row.zero_ablate.logit_difference), (Some(0.5), Some(1.0)));
        // KL from softmax [2, 0] to the uniform distribution, for one of two examples.
        let p = 1.0 / (1.0 + (-2.0_f64).exp());
        let divergence = (p * p.ln() + (1.0 - p) * (1.0 - p).ln() + 2.0_f64.ln()) / 2.0;
        assert!((row.zero_ablate.kl_to_full - divergence).abs() < 1e-6, "{}", row.zero_ablate.kl_to_full);
    }

    #[test]
    fn subsets_and_layers_have_rows_and_unknown_ones_are_refused() {
        let subsets = BTreeMap::from([("mine".to_string(), vec!["layer".to_string()])]);
        let report = study(&AblationStudy { subsets, per_layer: true, ..Default::default() }).unwrap();
        let names: Vec<&str> = report.rows.iter().map(|row| row.layers.as_str()).collect();
        assert_eq!(names, ["all", "mine"], "a single masked layer gets no row of its own");
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
    fn too_many_controls_are_refused() {
        let controls = 1_000_000_000_000_000_000;
        let error = study(&AblationStudy { controls, ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("controls is 1000000000000000000, but it must be at most"), "{error}");
    }
}
