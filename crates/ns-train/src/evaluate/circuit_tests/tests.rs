use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::{CircuitConfig, MaskMethod, MaskUnit, discover_targets};
use ns_models::{AnyTransformer, Gpt2, Gpt2Config, Model, Pretrained};
use ns_probe::mask_targets;

use super::parts::{Part, components, layers};
use super::plan::UnitSet;
use super::*;
use crate::data::Dataset;
use crate::evaluate::candidates::AnswerBatch;
use crate::evaluate::replaced_units::tests::{answers, circuit as gpt2_circuit};
use crate::evaluate::{AblationReport, AblationStudy};

/// Scores of the classes 0 and 1: `Σ w_i x_i` and `−Σ x_i`.
#[derive(Module, Debug)]
struct Scorer {
    layer: Linear,
}

const WEIGHTS: [f64; 3] = [2.0, 1.0, 0.0];
/// Three inputs, whose right class is 0.
const INPUTS: [[f64; 3]; 3] = [[1.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 2.0, 3.0]];

struct Inputs {
    answers: [AnswerBatch; 2],
    batches: [Tensor<2>; 2],
}

impl Subject<Scorer> for Inputs {
    fn answers(&self) -> &[AnswerBatch] {
        &self.answers
    }

    fn hidden(&self, model: &Scorer, batch: usize) -> Result<Tensor<2>, TrainError> {
        Ok(model.layer.forward(self.batches[batch].clone()))
    }

    fn scores(&self, _model: &Scorer, hidden: Tensor<2>) -> Result<Tensor<2>, TrainError> {
        Ok(hidden)
    }
}

/// The inputs in two batches.
fn inputs() -> Inputs {
    let batch = |rows: &[[f64; 3]]| {
        let values: Vec<f32> = rows.concat().into_iter().map(|value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), 3]), &Device::default())
    };
    Inputs {
        answers: [AnswerBatch::among_all(vec![0, 0]), AnswerBatch::among_all(vec![0])],
        batches: [batch(&INPUTS[..2]), batch(&INPUTS[2..])],
    }
}

/// The six weights are units, in the layout `[out, in]`; `kept` are in the circuit.
fn scorer(kept: [bool; 6]) -> CircuitModel<Scorer> {
    let device = Device::default();
    let layer = LinearConfig::new(3, 2).with_bias(false).init(&device);
    let weights = WEIGHTS.map(|weight| [weight as f32, -1.0]);
    let weight = layer.weight.map(|_| Tensor::from_floats(weights, &device));
    let model = Scorer { layer: Linear { weight, bias: None } };
    let config = CircuitConfig {
        target_layers: vec!["layer".into()],
        mask_method: MaskMethod::ContinuousSparsification { mask_init_value: 1.0 },
        ..CircuitConfig::default()
    };
    let targets = discover_targets(&model);
    let logits = kept.map(|kept| if kept { 0.25_f32 } else { -0.25 }).to_vec();
    let masks = BTreeMap::from([("layer.weight_mask_params".to_string(), TensorData::new(logits, [2, 3]))]);
    let mut circuit = CircuitModel::new(config, model, &targets).unwrap();
    circuit.load_mask_params(&masks).unwrap();
    circuit.valid()
}

/// The score of an input by hand.
fn by_hand(kept: &[bool], x: [f64; 3]) -> f64 {
    let weight = |unit: usize| if unit < 3 { WEIGHTS[unit] } else { 1.0 };
    (0..6).filter(|unit| kept[*unit]).map(|unit| weight(unit) * x[unit % 3]).sum()
}

fn mean(values: impl Fn([f64; 3]) -> f64) -> f64 {
    INPUTS.into_iter().map(values).sum::<f64>() / INPUTS.len() as f64
}

/// Tests a circuit of the scorer; the parts are single units of it.
fn tests(kept: [bool; 6], settings: &CircuitTestSettings) -> CircuitTests {
    let mut circuit = scorer(kept);
    let units = CircuitUnits::new(&circuit, true, 7).unwrap();
    let part = |unit: usize| Part { name: format!("unit {unit}"), units: vec![unit] };
    let families = [(0..6).filter(|unit| kept[*unit]).map(part).collect(), layers(&units)];
    let plan = Plan { settings, units: &units, families, seed: 7 };
    let mut score = |set: UnitSet| {
        let kept = plan.kept(set);
        let scores = scoring::with_zeros(&mut circuit, &inputs(), &units.params(&kept)).unwrap();
        assert_eq!(scores, INPUTS.map(|x| by_hand(&kept, x)), "{set:?}");
        (set, scores)
    };
    let scores = plan.sets().into_iter().map(&mut score).collect();
    plan.judge(&scores).unwrap()
}

fn settings() -> CircuitTestSettings {
    CircuitTestSettings { random: 40, ..CircuitTestSettings::default() }
}

#[test]
fn the_whole_model_is_equivalent_and_nothing_is_left_without_it() {
    let found = tests([true; 6], &settings());
    assert_eq!((found.units, found.circuit_units, found.scores), (6, 6, 3));
    let equivalence = found.equivalence;
    assert_eq!((equivalence.wins, equivalence.ties, equivalence.rejected), (0, 3, false));
    assert!((equivalence.p_value - 1.0).abs() < 1e-12);
    assert_eq!((found.complement.mean, found.complement.right), (0.0, 0.0));
    assert_eq!(found.full.mean, mean(|x| by_hand(&[true; 6], x)));
    // A constant has nothing to do with the scores of the model.
    let independence = found.independence.tested().unwrap();
    assert_eq!((independence.at_least, independence.p_value, independence.rejected), (200, 1.0, false));
    assert_eq!((found.sufficiency.distance, found.sufficiency.wins), (0.0, 40));
    assert_eq!((found.partial_necessity.wins, found.partial_necessity.rejected), (0, false));
    assert!(!found.removed_from_outside);
    let TestOutcome::NotTested { reason } = &found.components else { panic!("{found:?}") };
    assert!(reason.contains("no unit is outside"), "{reason}");
}

#[test]
fn a_part_without_an_effect_can_go_and_one_that_matters_cannot() {
    // Of the circuit, the first unit has the weight 2 and the third the weight 0.
    let kept = [true, false, true, false, false, false];
    let found = tests(kept, &settings());
    let components = found.components.tested().unwrap();
    let [first, third] = &components.parts[..] else { panic!("{components:?}") };
    assert_eq!((first.name.as_str(), first.units, first.effect), ("unit 0", 1, mean(|x| 4.0 * x[0] * x[0])));
    assert_eq!((first.wins, first.can_go), (40, false));
    assert_eq!((third.effect, third.wins, third.can_go), (0.0, 0, true));
    assert!(!components.is_minimal);
    // Random units outside the circuit have the weight 1.
    let possible = [0, 1, 2].map(|input| mean(|x| x[input] * x[input]));
    assert!(components.random_effects.iter().all(|effect| possible.contains(effect)), "{components:?}");
    assert!(components.random_effects.iter().any(|effect| *effect != components.random_effects[0]));

    let layer = &found.layers.tested().unwrap().parts[0];
    assert_eq!((layer.name.as_str(), layer.units, layer.effect), ("layer", 2, mean(|x| 4.0 * x[0] * x[0])));
    assert!(found.removed_from_outside && found.equivalence.rejected == (found.equivalence.p_value < 0.05));
    let without = kept.map(|kept| !kept);
    let difference = |x| by_hand(&[true; 6], x) - by_hand(&without, x);
    assert_eq!(found.partial_necessity.distance, mean(|x| difference(x) * difference(x)));
    assert_eq!(found.complement.mean, mean(|x| by_hand(&without, x)));
}

#[test]
fn an_empty_circuit_has_no_parts() {
    let found = tests([false; 6], &settings());
    let TestOutcome::NotTested { reason } = &found.layers else { panic!("{found:?}") };
    assert!(reason.contains("keeps no unit") && found.circuit.mean == 0.0, "{reason}");
}

#[test]
fn scores_that_are_all_equal_have_no_test_of_independence() {
    let (settings, circuit) = (CircuitTestSettings { random: 1, ..settings() }, scorer([true; 6]));
    let units = CircuitUnits::new(&circuit, true, 0).unwrap();
    let plan = Plan { settings: &settings, units: &units, families: [Vec::new(), Vec::new()], seed: 0 };
    let scores = |value: f64| plan.sets().into_iter().map(|set| (set, vec![value; 4])).collect::<Scores>();
    let found = plan.judge(&scores(1.0)).unwrap();
    let TestOutcome::NotTested { reason } = &found.independence else { panic!("{found:?}") };
    assert!(reason.contains("width of the kernels"), "{reason}");
    assert_eq!(found.equivalence.win_share, 0.5);
    let error = plan.judge(&scores(f64::NAN)).unwrap_err().to_string();
    assert!(error.contains("must be finite"), "{error}");
}

/// The indices of kept units.
fn indices(kept: &[bool]) -> Vec<usize> {
    (0..kept.len()).filter(|unit| kept[*unit]).collect()
}

#[test]
fn random_sets_have_the_size_of_the_circuit_in_each_mask() {
    // 8 of 24 neurons of attention, 11 of 32 of the MLP.
    let units = CircuitUnits::new(&gpt2_circuit(), true, 1).unwrap();
    assert_eq!((units.len(), units.size(), units.has_large_complement()), (56, 19, true));
    let sizes = |kept: &[bool]| {
        let kept = indices(kept);
        [kept.iter().filter(|unit| **unit < 24).count(), kept.iter().filter(|unit| **unit >= 24).count()]
    };
    for draw in 0..20 {
        assert_eq!(sizes(&units.random_circuit(draw)), [8, 11]);
        let removed: Vec<bool> = units.random_removed(draw).into_iter().map(|kept| !kept).collect();
        assert_eq!(sizes(&removed), [8, 11]);
        assert!(indices(&removed).into_iter().all(|unit| !units.has(unit)));
        let part = indices(&units.circuit())[..3].to_vec();
        assert_eq!(sizes(&units.inflated(&part, (0, draw))), [11, 11]);
        // Attention has 16 units outside the circuit; the rest comes from the MLP.
        let part = vec![0; 18];
        let inflated = units.inflated(&part, (0, draw));
        assert_eq!(sizes(&inflated), [24, 13]);
        assert!(units.circuit().iter().zip(&inflated).all(|(circuit, kept)| *kept || !circuit));
        assert_eq!(sizes(&units.inflated(&vec![0; 99], (0, draw))), [24, 32]);
    }
    assert_ne!(units.random_circuit(0), units.random_circuit(1));
    assert_eq!(units.neurons(&units.circuit())["transformer.h.1.attn.c_attn"], [0, 3, 6, 9, 12, 15, 18, 21]);
}

#[test]
fn parts_are_heads_the_mlp_and_layers() {
    let circuit = gpt2_circuit();
    let units = CircuitUnits::new(&circuit, true, 0).unwrap();
    let named = |parts: Vec<Part>| parts.into_iter().map(|part| (part.name, part.units)).collect::<Vec<_>>();
    let found = named(components(&circuit, &units));
    // Neurons 0 to 3 of queries, keys and values are those of head 0.
    assert_eq!(found[0], ("layer 1 head 0".into(), vec![0, 3, 9, 18]));
    assert_eq!(found[1], ("layer 1 head 1".into(), vec![6, 12, 15, 21]));
    assert_eq!((found[2].0.as_str(), found[2].1.len(), found.len()), ("layer 1 MLP", 11, 3));
    let of_layers = named(layers(&units));
    assert_eq!((of_layers[0].0.as_str(), of_layers[0].1.len()), ("transformer.h.1.attn.c_attn", 8));
    assert_eq!(of_layers.len(), 2);
}

#[test]
fn the_output_projection_is_split_by_weights_but_not_by_neurons() {
    let config = Gpt2Config { vocab_size: 11, n_positions: 6, n_embd: 4, n_layer: 1, n_head: 2, ..Default::default() };
    let model = AnyTransformer::from(Gpt2::init(&config, &Device::default()).unwrap());
    let parts = |mask_unit, mask_bias| {
        let config = CircuitConfig {
            target_layers: vec!["transformer.h.0.attn.c_proj".into()],
            mask_method: MaskMethod::ContinuousSparsification { mask_init_value: 1.0 },
            mask_unit,
            mask_bias,
            ..CircuitConfig::default()
        };
        let circuit = CircuitModel::new(config, model.clone(), &mask_targets(&model)).unwrap().valid();
        let parts = components(&circuit, &CircuitUnits::new(&circuit, true, 0).unwrap());
        parts.into_iter().map(|part| (part.name, part.units)).collect::<Vec<_>>()
    };
    assert_eq!(parts(MaskUnit::Neuron, false), [("layer 0 all heads".into(), vec![0, 1, 2, 3])]);
    // The bias mask comes first by name; the weight is [in, out], and inputs 0 and 1 are those of head 0.
    let expected = [
        ("layer 0 head 0".into(), (4..12).collect::<Vec<usize>>()),
        ("layer 0 head 1".into(), (12..20).collect()),
        ("layer 0 all heads".into(), (0..4).collect()),
    ];
    assert_eq!(parts(MaskUnit::Weight, true), expected);
}

/// The test set of the study of replaced units, for a circuit of a GPT-2.
fn on_gpt2(ablation: AblationName) -> (CircuitTests, AblationReport) {
    let (answers, circuit) = (answers("", ""), gpt2_circuit());
    let rows = answers.examples.split().test.clone();
    let mut passes = Vec::new();
    let tests = CircuitTestSettings { ablation, random: 3, ..settings() };
    let tests = tests.run(&circuit, (&answers, &rows, 3), |done, total| passes.push((done, total))).unwrap();
    let (done, total) = passes.last().unwrap();
    assert_eq!(done, total);
    let replaced = ablation.replaces_outputs().then_some(ablation).into_iter().collect();
    let study = AblationStudy { controls: 0, logit_difference: true, replaced, ..AblationStudy::default() };
    let head = circuit.base().head();
    let report =
        study.run_with(&circuit, (&answers, &rows, 3), |_| Ok(Box::new(WholeModel::new(&answers, &rows, head))));
    (tests, report.unwrap())
}

#[test]
fn scores_are_those_of_the_ablation_study() {
    let near = |found: ScoreSummary, expected: &crate::evaluate::Behaviour| {
        assert!((found.mean - expected.logit_difference.unwrap()).abs() < 1e-5, "{found:?} {expected:?}");
        assert_eq!(found.right, expected.accuracy);
    };
    let (tests, report) = on_gpt2(AblationName::Zero);
    near(tests.full, &report.full);
    near(tests.circuit, &report.rows[0].circuit_only);
    near(tests.complement, &report.rows[0].zero_ablate);
    assert_eq!(tests.components.tested().unwrap().parts.len(), 3);
    for ablation in [AblationName::Mean, AblationName::MeanPosition, AblationName::Resample] {
        let (tests, report) = on_gpt2(ablation);
        let replaced = &report.rows[0].replaced[ablation.name()];
        near(tests.full, &report.full);
        near(tests.circuit, &replaced.circuit_only);
        near(tests.complement, &replaced.ablated);
        assert_eq!((tests.scores, tests.sufficiency.random_distances.len()), (5, 3));
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let refused = |settings: CircuitTestSettings, part: &str| {
        let error = settings.check().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let default = CircuitTestSettings::default();
    default.check().unwrap();
    refused(CircuitTestSettings { random: 0, ..default }, "random is 0");
    refused(CircuitTestSettings { random: usize::MAX, ..default }, "at most");
    refused(CircuitTestSettings { most_examples: 0, ..default }, "examples is 0");
    refused(CircuitTestSettings { epsilon: 0.6, ..default }, "epsilon is 0.6");
    refused(CircuitTestSettings { quantile: 1.0, ..default }, "quantile is 1");
    refused(CircuitTestSettings { alpha: f64::NAN, ..default }, "alpha is NaN");
    refused(CircuitTestSettings { ablation: AblationName::Reinitialise, ..default }, "the ablation is reinitialise");
}

#[test]
fn a_circuit_without_mask_parameters_is_refused() {
    let base = scorer([true; 6]).base().clone();
    let config = CircuitConfig {
        target_layers: vec!["layer".into()],
        mask_method: MaskMethod::MagnitudePruning { prune_percentage: 0.5, criterion: Default::default() },
        ..CircuitConfig::default()
    };
    let pruned = CircuitModel::new(config, base.clone(), &discover_targets(&base)).unwrap().valid();
    let error = CircuitUnits::new(&pruned, true, 0).unwrap_err().to_string();
    assert!(error.contains("magnitude_pruning"), "{error}");
}
