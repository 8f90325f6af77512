//! The ablation study: how a model behaves with its circuit ablated, compared with random masks of the circuit's size.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor, activation::log_softmax};
use ns_circuit::{Ablation, CircuitError, CircuitModel, ModelVariant, expand_layers};
use serde::{Deserialize, Serialize};

use super::behaviour::{Behaviour, Controls};
use super::candidates::AnswerBatch;
use super::subject::Subject;
use crate::error::TrainError;
use crate::recipe::{AblationName, check_controls};

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
    /// Whether [`Behaviour::logit_difference`] is measured.
    pub logit_difference: bool,
    /// Whether [`Behaviour::kl_to_full`] is measured.
    pub kl: bool,
    /// Whether the circuit is also replaced by freshly initialised weights.
    pub reinitialise: bool,
    /// Ablations that replace the outputs of the circuit's units: `mean`, `mean_position` or `resample`.
    pub replaced: Vec<AblationName>,
}

impl Default for AblationStudy {
    fn default() -> Self {
        Self {
            controls: 5,
            per_layer: false,
            subsets: BTreeMap::new(),
            logit_difference: false,
            kl: true,
            reinitialise: true,
            replaced: Vec::new(),
        }
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
    /// The circuit's weights are replaced by freshly initialised ones. `None` without
    /// [`reinitialise`](AblationStudy::reinitialise).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub random_ablate: Option<Behaviour>,
    /// As many randomly sampled weights (or neurons) of these layers are zero. `None` without controls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub randomly_sampled: Option<Controls>,
    /// As many weights (or neurons) are zero, sampled outside the circuit. `None` without controls, and if the circuit
    /// is larger than its complement in one of these layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complement_sampled: Option<Controls>,
    /// Results of the ablations that replace the outputs of units, by the name of the ablation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub replaced: BTreeMap<String, ReplacedUnits>,
}

/// Results of an ablation that replaces the outputs of units, for one set of masked layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplacedUnits {
    /// Only the units of the circuit keep their outputs; those of all other units of these layers are replaced.
    pub circuit_only: Behaviour,
    /// The outputs of the circuit's units are replaced.
    pub ablated: Behaviour,
    /// The outputs of as many randomly sampled units of these layers are replaced. `None` without controls.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub randomly_sampled: Option<Controls>,
    /// The outputs of as many units are replaced, sampled outside the circuit. `None` without controls, and if the circuit
    /// is larger than its complement in one of these layers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
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

/// A subject with one batch, whose scores a function computes.
struct OneBatch<'a, M> {
    answers: [AnswerBatch; 1],
    scores: &'a Scores<'a, M>,
}

impl<M> Subject<M> for OneBatch<'_, M> {
    fn answers(&self) -> &[AnswerBatch] {
        &self.answers
    }

    fn hidden(&self, model: &M, _batch: usize) -> Result<Tensor<2>, TrainError> {
        (self.scores)(model)
    }

    fn scores(&self, _model: &M, hidden: Tensor<2>) -> Result<Tensor<2>, TrainError> {
        Ok(hidden)
    }
}

impl AblationStudy {
    /// Runs the study on `circuit`, which must be in evaluation mode.
    ///
    /// # Shapes
    /// - labels: `[n]`, indices of the right answers
    /// - scores: returns `[n, answers]` for a model
    ///
    /// # Errors
    /// Returns [`TrainError::Circuit`] if a subset names a layer that is not masked, [`TrainError::Setting`] if there are
    /// too many [`controls`](Self::controls), and errors of `scores`.
    pub fn run<M: Module + ModuleDisplay>(
        &self,
        circuit: &CircuitModel<M>,
        labels: &Tensor<1, Int>,
        scores: &Scores<'_, M>,
    ) -> Result<AblationReport, TrainError> {
        let answers = [AnswerBatch::among_all(labels.to_data().iter::<i64>().collect())];
        self.run_on(circuit, &OneBatch { answers, scores })
    }

    /// Runs the study on a subject. `circuit` must be in evaluation mode.
    ///
    /// # Errors
    /// Returns those of [`Self::run`], and errors of the subject.
    pub(crate) fn run_on<M: Module + ModuleDisplay>(
        &self,
        circuit: &CircuitModel<M>,
        subject: &dyn Subject<M>,
    ) -> Result<AblationReport, TrainError> {
        check_controls(self.controls)?;
        let model = circuit.model_as(ModelVariant::WholeModel)?;
        let sets = self.sets_of(circuit)?;
        let hidden = (0..subject.answers().len()).map(|batch| subject.hidden(&model, batch));
        let hidden = hidden.collect::<Result<Vec<_>, _>>()?;
        let measurement = Measurement { study: self, subject, intact: Intact { model, hidden } };
        let intact = &measurement.intact;
        let full = measurement.measure(&intact.model, |batch| Ok(intact.hidden[batch].clone()))?;
        let mut circuit = circuit.clone();
        let row = |(name, layers): (String, Vec<String>)| measurement.row(&mut circuit, name, &layers);
        let rows = sets.into_iter().map(row).collect::<Result<_, _>>()?;
        Ok(AblationReport { rows, full })
    }

    /// The sets of layers that are ablated together, with their names: all masked layers first. Empty without masks.
    pub(super) fn sets_of<M: Module + ModuleDisplay>(
        &self,
        circuit: &CircuitModel<M>,
    ) -> Result<Vec<(String, Vec<String>)>, TrainError> {
        let all: Vec<String> = circuit.layers().into_iter().map(|layer| layer.name).collect();
        let mut sets = vec![("all".to_string(), all.clone())];
        for (name, layers) in &self.subsets {
            sets.push((name.clone(), expand_layers(layers, all.iter().map(String::as_str))?));
        }
        if self.per_layer && all.len() > 1 {
            sets.extend(all.iter().map(|layer| (layer.clone(), vec![layer.clone()])));
        }
        Ok(if all.is_empty() { Vec::new() } else { sets })
    }
}

/// Turns on the masks of some layers alone.
pub(super) fn use_masks_of_only<M: Module + ModuleDisplay>(
    circuit: &mut CircuitModel<M>,
    names: &[String],
) -> Result<(), TrainError> {
    for layer in circuit.layers() {
        circuit.use_masks_of(false, &[&layer.name])?;
    }
    Ok(circuit.use_masks_of(true, &names.iter().map(String::as_str).collect::<Vec<_>>())?)
}

/// The inputs that all rows of a study share.
struct Measurement<'a, M> {
    study: &'a AblationStudy,
    subject: &'a dyn Subject<M>,
    intact: Intact<M>,
}

/// The model without masks.
struct Intact<M> {
    model: M,
    /// What its head reads of each batch. The logits of a language model would need fifty times the memory.
    hidden: Vec<Tensor<2>>,
}

impl<M: Module + ModuleDisplay> Measurement<'_, M> {
    /// Ablates the layers `names`.
    fn row(&self, circuit: &mut CircuitModel<M>, layers: String, names: &[String]) -> Result<AblationRow, TrainError> {
        use_masks_of_only(circuit, names)?;
        let of = |variant| self.behaviour(&circuit.model_as(variant)?);
        let circuit_only = of(ModelVariant::CircuitOnly)?;
        let reinitialised = || of(ModelVariant::Ablated(Ablation::RandomAblate));
        let random_ablate = self.study.reinitialise.then(reinitialised).transpose()?;
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
            replaced: BTreeMap::new(),
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
            controls.push(self.behaviour(&circuit.model()?)?);
        }
        Ok(Controls::new(&controls, circuit_ablated))
    }

    /// Measures a model on all batches.
    fn behaviour(&self, model: &M) -> Result<Behaviour, TrainError> {
        self.measure(model, |batch| self.subject.hidden(model, batch))
    }

    /// Like [`Self::behaviour`]; `hidden` returns what the head of the model reads of a batch.
    fn measure(
        &self,
        model: &M,
        hidden: impl Fn(usize) -> Result<Tensor<2>, TrainError>,
    ) -> Result<Behaviour, TrainError> {
        let mut sums = Sums::default();
        for (batch, answers) in self.subject.answers().iter().enumerate() {
            let scores = self.subject.scores(model, hidden(batch)?)?;
            let intact = || self.subject.scores(&self.intact.model, self.intact.hidden[batch].clone());
            sums.add(self.study, answers, scores, intact)?;
        }
        Ok(sums.means(self.study))
    }
}

/// Sums over examples.
#[derive(Clone, Default)]
pub(super) struct Sums {
    examples: usize,
    right: i64,
    margins: f64,
    divergence: f64,
}

impl Sums {
    /// Adds what a study measures on a batch. `intact` computes the scores of the model without masks.
    pub(super) fn add(
        &mut self,
        study: &AblationStudy,
        answers: &AnswerBatch,
        scores: Tensor<2>,
        intact: impl FnOnce() -> Result<Tensor<2>, TrainError>,
    ) -> Result<(), TrainError> {
        let compared = answers.compare(scores.clone());
        self.examples += scores.dims()[0];
        self.right += compared.count_right();
        if study.logit_difference {
            self.margins += compared.margins().into_iter().sum::<f64>();
        }
        if study.kl {
            self.divergence += divergence(intact()?, scores);
        }
        Ok(())
    }

    /// The means over the examples.
    pub(super) fn means(&self, study: &AblationStudy) -> Behaviour {
        let mean = |sum: f64| sum / self.examples as f64;
        Behaviour {
            accuracy: mean(self.right as f64),
            kl_to_full: study.kl.then(|| mean(self.divergence)),
            logit_difference: study.logit_difference.then(|| mean(self.margins)),
        }
    }
}

/// Sum of the divergences of answer distributions, `KL(full ‖ other)`, in nats.
///
/// # Shapes
/// - full, other: scores, `[n, answers]`
fn divergence(full: Tensor<2>, other: Tensor<2>) -> f64 {
    let (full, other) = (log_softmax(full, 1), log_softmax(other, 1));
    (full.clone().exp() * (full - other)).sum().into_scalar()
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
        let report = study(&AblationStudy { logit_difference: true, ..Default::default() }).unwrap();
        let full = report.full;
        assert_eq!((full.accuracy, full.kl_to_full, full.logit_difference), (1.0, Some(0.0), Some(2.0)));
        let row = &report.rows[0];
        assert_eq!((row.layers.as_str(), row.l0, row.l0_max), ("all", 1.0, 4.0));
        // In the circuit alone the second example scores [0, 0]: a tie is wrong.
        assert_eq!((row.circuit_only.accuracy, row.circuit_only.logit_difference), (0.5, Some(1.0)));
        assert_eq!((row.zero_ablate.accuracy, row.zero_ablate.logit_difference), (0.5, Some(1.0)));
        // KL from softmax [2, 0] to the uniform distribution, for one of two examples.
        let p = 1.0 / (1.0 + (-2.0_f64).exp());
        let divergence = (p * p.ln() + (1.0 - p) * (1.0 - p).ln() + 2.0_f64.ln()) / 2.0;
        let found = row.zero_ablate.kl_to_full.unwrap();
        assert!((found - divergence).abs() < 1e-6, "{found}");
    }

    #[test]
    fn what_is_not_asked_for_is_not_measured() {
        let report = study(&AblationStudy { kl: false, reinitialise: false, ..Default::default() }).unwrap();
        let row = &report.rows[0];
        assert_eq!((report.full.kl_to_full, row.random_ablate, row.zero_ablate.kl_to_full), (None, None, None));
        assert_eq!(row.randomly_sampled.unwrap().kl_to_full, None);
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
    fn too_many_controls_are_refused() {
        let controls = 1_000_000_000_000_000_000;
        let error = study(&AblationStudy { controls, ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("controls is 1000000000000000000, but it must be at most"), "{error}");
    }
}
