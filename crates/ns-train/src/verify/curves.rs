//! Golden cases of statistics: faithfulness curves, rankings, permutation tests and hypothesis tests.

use std::path::Path;

use burn::tensor::TensorData;
use serde::Deserialize;
use serde_json::Value;

use super::inputs::{Inputs, settings};
use super::scalars::{compare_scalars, count, counts, flags, number, scalars};
use super::{TensorComparison, Tensors, ToleranceKind::Absolute, compare_all, invalid, read_json, read_tensors};
use crate::error::TrainError;
use crate::statistics::{
    Arrangements, FaithfulnessAreas, PermutationTest, ReferenceTest, ScoreOrder, among_controls, auroc,
    average_precision, circuit_sizes, equivalence, faithfulness, independence, mean_squared_difference, membership,
    minimality, partial_necessity, precision_recall_curve, roc_curve, sign_flips, sufficiency, two_samples,
};

/// The tensors that are inputs. All others, and the numbers in `expected`, are expected results.
pub const CURVES_CASE_INPUTS: [&str; 16] = [
    "a",
    "b",
    "circuit_scores",
    "complement_scores",
    "controls",
    "differences",
    "full_scores",
    "inflated_knocked_scores",
    "inflated_scores",
    "knocked_scores",
    "metric_by_size",
    "permutations",
    "random_circuit_scores",
    "random_losses",
    "scores",
    "truth",
];

pub(super) fn run(folder: &Path) -> Result<Vec<TensorComparison>, TrainError> {
    let case = read_json(&folder.join("case.json"))?;
    let mut tensors = read_tensors(&folder.join("tensors.safetensors"))?;
    let expected = scalars("expected", &case["expected"])?;
    let produced = produce(&case, &Inputs(&tensors), &expected)?;
    tensors.retain(|name, _| !CURVES_CASE_INPUTS.contains(&name.as_str()));
    let mut comparisons = compare_scalars(&expected, &produced);
    comparisons.extend(compare_all(&tensors, &produced, |_, data| match data.dtype().is_float() {
        true => (Absolute, 1e-6),
        false => (Absolute, 0.0),
    }));
    Ok(comparisons)
}

fn produce(case: &Value, inputs: &Inputs<'_>, expected: &Tensors) -> Result<Tensors, TrainError> {
    match case["kind"].as_str() {
        Some("areas") => areas(&settings(case)?, inputs),
        Some("ranking") => ranking(inputs),
        Some("permutation") => permutation(&settings(case)?, inputs),
        Some("equivalence") => equivalence_case(&settings(case)?, inputs, expected),
        Some("independence") => independence_case(inputs),
        Some("minimality") => minimality_case(&settings(case)?, inputs),
        other => Err(invalid(
            "kind",
            other.unwrap_or("missing"),
            "it must be areas, ranking, permutation, equivalence, independence or minimality",
        )),
    }
}

#[derive(Deserialize)]
struct Areas {
    metric_full: f64,
    metric_empty: f64,
    percentages: Vec<f64>,
}

fn areas(case: &Areas, inputs: &Inputs<'_>) -> Result<Tensors, TrainError> {
    let (scores, metric) = (inputs.numbers("scores")?, inputs.numbers("metric_by_size")?);
    let sizes = circuit_sizes(&case.percentages, scores.len())?;
    let metric: Option<Vec<f64>> = sizes.iter().map(|size| metric.get(*size).copied()).collect();
    let metric = metric.ok_or_else(|| invalid("metric_by_size", "too short", "it needs a value for each size"))?;
    let faithfulness = faithfulness(&metric, case.metric_full, case.metric_empty)?;
    let found = FaithfulnessAreas::new(&case.percentages, &faithfulness)?;
    let members = |order| {
        let rows: Vec<Vec<bool>> = sizes.iter().map(|k| membership(&scores, order, *k)).collect::<Result<_, _>>()?;
        let members: Vec<i64> = rows.concat().into_iter().map(i64::from).collect();
        Ok::<_, TrainError>(TensorData::new(members, [sizes.len(), scores.len()]))
    };
    Ok(named([
        ("expected.sizes", counts(&sizes)),
        ("expected.faithfulness", numbers(faithfulness)),
        ("expected.cpr", number(found.cpr)),
        ("expected.cmd", number(found.cmd)),
        ("expected.average", number(found.average)),
        ("expected.cpr_log", number(found.cpr_log)),
        ("expected.cmd_log", number(found.cmd_log)),
        ("expected.cpr_from_zero", number(found.cpr_from_zero)),
        ("expected.cmd_from_zero", number(found.cmd_from_zero)),
        ("member_absolute", members(ScoreOrder::Absolute)?),
        ("member_signed", members(ScoreOrder::Signed)?),
    ]))
}

fn ranking(inputs: &Inputs<'_>) -> Result<Tensors, TrainError> {
    let scores = inputs.numbers("scores")?;
    let truth: Vec<bool> = inputs.integers("truth")?.into_iter().map(|truth| truth != 0).collect();
    let (roc, curve) = (roc_curve(&scores, &truth)?, precision_recall_curve(&scores, &truth)?);
    Ok(named([
        ("expected.auroc", number(auroc(&scores, &truth)?)),
        ("expected.average_precision", number(average_precision(&scores, &truth)?)),
        ("fpr", numbers(roc.false_positive_rates)),
        ("tpr", numbers(roc.true_positive_rates)),
        ("thresholds", numbers(roc.thresholds)),
        ("precision", numbers(curve.precision)),
        ("recall", numbers(curve.recall)),
        ("cuts", numbers(curve.thresholds)),
    ]))
}

#[derive(Deserialize)]
struct Permutation {
    observed: f64,
}

fn permutation(case: &Permutation, inputs: &Inputs<'_>) -> Result<Tensors, TrainError> {
    // All arrangements, however many a case has.
    let all = Arrangements { limit: u64::MAX, ..Arrangements::default() };
    let two = two_samples(&inputs.numbers("a")?, &inputs.numbers("b")?, all)?;
    let flips = sign_flips(&inputs.numbers("differences")?, all)?;
    let controls = among_controls(case.observed, &inputs.numbers("controls")?)?;
    let mut produced = Tensors::new();
    for (name, test) in [("two_samples", two), ("sign_flips", flips)] {
        let PermutationTest { statistic, arrangements, p_greater, p_less, p_absolute, .. } = test;
        let values = [
            ("statistic", number(statistic)),
            ("arrangements", count(arrangements as usize)),
            ("p_greater", number(p_greater)),
            ("p_less", number(p_less)),
            ("p_absolute", number(p_absolute)),
            ("p_doubled", number(test.p_doubled())),
        ];
        produced.extend(values.map(|(key, data)| (format!("expected.{name}.{key}"), data)));
    }
    produced.extend(named([
        ("expected.controls.at_most", count(controls.at_most)),
        ("expected.controls.at_least", count(controls.at_least)),
        ("expected.controls.p_less", number(controls.p_less)),
        ("expected.controls.p_greater", number(controls.p_greater)),
    ]));
    Ok(produced)
}

#[derive(Deserialize)]
struct EquivalenceCase {
    epsilons: Vec<f64>,
}

/// The p-values have the ε as their name. It is taken from the expected names, because programs write numbers differently.
fn equivalence_case(case: &EquivalenceCase, inputs: &Inputs<'_>, expected: &Tensors) -> Result<Tensors, TrainError> {
    let found = equivalence(&inputs.numbers("full_scores")?, &inputs.numbers("circuit_scores")?, &case.epsilons)?;
    let mut produced = named([
        ("expected.wins", count(found.wins)),
        ("expected.ties", count(found.ties)),
        ("expected.statistic", number(found.statistic)),
    ]);
    for name in expected.keys() {
        let epsilon = name.strip_prefix("expected.p_values.").and_then(|epsilon| epsilon.parse::<f64>().ok());
        let index = case.epsilons.iter().position(|found| Some(*found) == epsilon);
        produced.extend(index.map(|index| (name.clone(), number(found.p_values[index]))));
    }
    Ok(produced)
}

fn independence_case(inputs: &Inputs<'_>) -> Result<Tensors, TrainError> {
    let permutations = inputs.rows_of_indices("permutations")?;
    let found = independence(&inputs.numbers("full_scores")?, &inputs.numbers("complement_scores")?, &permutations)?;
    Ok(named([
        ("expected.sigma", number(found.sigma)),
        ("expected.hsic", number(found.hsic)),
        ("expected.at_least", count(found.at_least)),
        ("expected.p_value", number(found.p_value)),
        ("expected.p_value_plus_one", number(found.p_value_plus_one)),
        ("permuted_statistics", numbers(found.permuted_statistics)),
    ]))
}

#[derive(Deserialize)]
struct MinimalityCase {
    quantile: f64,
    alpha: f64,
}

fn minimality_case(case: &MinimalityCase, inputs: &Inputs<'_>) -> Result<Tensors, TrainError> {
    let (circuit, full) = (inputs.numbers("circuit_scores")?, inputs.numbers("full_scores")?);
    let effects = |knocked: &'static str| differences(|_| Some(&circuit), &inputs.rows(knocked)?);
    let unit_effects = effects("knocked_scores")?;
    let inflated = inputs.rows("inflated_scores")?;
    let random_effects = differences(|row| inflated.get(row), &inputs.rows("inflated_knocked_scores")?)?;
    let found = minimality(&unit_effects, &random_effects, case.quantile, case.alpha)?;
    let distance = mean_squared_difference(&full, &circuit)?;
    let random_distances = differences(|_| Some(&full), &inputs.rows("random_circuit_scores")?)?;
    let loss = mean_squared_difference(&full, &inputs.numbers("complement_scores")?)?;
    let sufficiency = sufficiency(distance, &random_distances, case.quantile)?;
    let necessity = partial_necessity(loss, &inputs.numbers("random_losses")?, case.quantile)?;
    let mut produced = named([
        ("unit_effects", numbers(unit_effects)),
        ("random_effects", numbers(random_effects)),
        ("wins", counts(&found.wins)),
        ("expected.p_values", numbers(found.p_values)),
        ("expected.bonferroni_rejected", flags(&found.bonferroni_rejected)),
        ("expected.minimal", flags(&[found.is_minimal])),
        ("expected.sufficiency.distance", number(distance)),
        ("expected.partial_necessity.loss", number(loss)),
        ("random_distances", numbers(random_distances)),
    ]);
    for (name, ReferenceTest { wins, p_value }) in [("sufficiency", sufficiency), ("partial_necessity", necessity)] {
        produced.insert(format!("expected.{name}.wins"), count(wins));
        produced.insert(format!("expected.{name}.p_value"), number(p_value));
    }
    Ok(produced)
}

/// Mean squared difference of each row from that of the same number in a reference.
fn differences<'a>(
    reference: impl Fn(usize) -> Option<&'a Vec<f64>>,
    rows: &[Vec<f64>],
) -> Result<Vec<f64>, TrainError> {
    let difference = |(index, row): (usize, &Vec<f64>)| {
        let reference =
            reference(index).ok_or_else(|| invalid("inflated_scores", "too short", "it needs every row"))?;
        mean_squared_difference(reference, row)
    };
    rows.iter().enumerate().map(difference).collect()
}

fn numbers(values: Vec<f64>) -> TensorData {
    let n = values.len();
    TensorData::new(values, [n])
}

fn named<const N: usize>(tensors: [(&str, TensorData); N]) -> Tensors {
    tensors.map(|(name, data)| (name.to_string(), data)).into()
}
