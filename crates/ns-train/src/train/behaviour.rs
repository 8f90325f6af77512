//! What the model of a recipe does on its own task, intact and with the circuit of the run ablated.

use ns_circuit::CircuitModel;
use ns_models::Head;
use serde_json::Value;

use super::base_model::read_examples;
use super::base_model_pool::BaseModelPool;
use super::probe_measures::MeasuredSets;
use crate::data::{Dataset, Examples, label_tensor};
use crate::error::TrainError;
use crate::evaluate::{AblationReport, AblationStudy, Answering, Measures, scores_of, set_behaviour, with_answers};
use crate::recipe::{BehaviourSection, DataSection, Kind, Metric, Recipe, SetName};

/// The behaviour that a recipe measures: that of its section, or by default that of a circuit, and of a circuit probe on
/// arithmetic.
pub(super) fn section(recipe: &Recipe, measured: MeasuredSets) -> Option<BehaviourSection> {
    let by_default = match recipe.kind {
        Kind::Circuit => Some(vec![Metric::Accuracy, Metric::Kl]),
        Kind::CircuitProbe if recipe.data.arithmetic.is_some() => Some(vec![Metric::Accuracy]),
        _ => None,
    };
    let by_default = by_default.map(|metrics| BehaviourSection { metrics, ..BehaviourSection::default() });
    let mut section = recipe.behaviour.clone().or(by_default)?;
    if measured == MeasuredSets::Test {
        section.sets.retain(|set| *set == SetName::Test);
    }
    Some(section)
}

/// The examples of a recipe, labelled with the answers of the model's own head: with the column `behaviour.label`, or for
/// arithmetic with the answers of the task. `recipe` has resolved paths; `config` is the `config.json` of the model.
///
/// # Errors
/// Returns errors of reading the data, and [`TrainError::Setting`] if the head does not have the classes.
pub(super) fn answers<M: Answering>(
    pool: &BaseModelPool,
    recipe: &Recipe,
    model: &M,
    config: &Value,
) -> Result<Examples, TrainError> {
    let of_behaviour = recipe.behaviour.as_ref().and_then(|behaviour| behaviour.label.clone());
    let key = if of_behaviour.is_some() { "behaviour.label" } else { "data.label" };
    let label = match recipe.data.arithmetic {
        Some(_) => Some("answer".into()),
        None => of_behaviour.or(recipe.data.label.clone()),
    };
    // A head that predicts one label for a sequence reads no position.
    let read = recipe.data.read.clone().filter(|_| matches!(model.head(), Head::TokenClassification | Head::Lm));
    let data = DataSection { label, read, numeric: false, ..recipe.data.clone() };
    with_answers(read_examples(pool, recipe, &data)?, model, config, key)
}

/// The rows of the sets of a section that have rows.
///
/// # Errors
/// Returns [`TrainError::Setting`] if a set is empty.
fn sets<'a>(section: &BehaviourSection, data: &'a dyn Dataset) -> Result<Vec<(SetName, &'a [usize])>, TrainError> {
    let all = data.split().sets();
    let rows = |set: &SetName| {
        let rows = all.iter().find(|(name, _)| *name == set.name()).map_or(&[][..], |(_, rows)| *rows);
        let expected = "data.split leaves no example in it; name other sets";
        TrainError::check(!rows.is_empty(), "behaviour.sets", format!("`{}`", set.name()), expected)?;
        Ok((*set, rows))
    };
    section.sets.iter().map(rows).collect()
}

/// Measures the behaviour of a recipe and adds it to a row. `run_study` runs a study on some rows of `answers`. Returns
/// the reports by set.
///
/// # Errors
/// Returns [`TrainError::Setting`] for a set without examples, and the errors of `run_study`.
pub(super) fn measure(
    recipe: &Recipe,
    section: &BehaviourSection,
    answers: &Examples,
    measures: &mut Measures,
    mut run_study: impl FnMut(&[usize], &AblationStudy) -> Result<AblationReport, TrainError>,
) -> Result<Vec<(SetName, AblationReport)>, TrainError> {
    // Without masks there is nothing to ablate.
    let (controls, ablations) = match recipe.kind.has_masks() {
        true => (recipe.evaluation.controls, Some(&recipe.evaluation.ablations[..])),
        false => (0, None),
    };
    let study = AblationStudy {
        controls,
        logit_difference: section.metrics.contains(&Metric::LogitDifference),
        ..AblationStudy::default()
    };
    let mut reports = Vec::new();
    for (set, rows) in sets(section, answers)? {
        let report = run_study(rows, &study)?;
        set_behaviour(measures, set.name(), &report, &section.metrics, ablations);
        reports.push((set, report));
    }
    Ok(reports)
}

/// Runs a study with full forward passes of a model in evaluation mode.
///
/// # Errors
/// Returns the errors of the forward passes and of the study.
pub(super) fn run_study<M: Answering>(
    circuit: &CircuitModel<M>,
    answers: &Examples,
    rows: &[usize],
    study: &AblationStudy,
) -> Result<AblationReport, TrainError> {
    let labels = label_tensor(answers.labels(rows), &circuit.base().device());
    study.run(circuit, &labels, &|model| scores_of(answers, rows, model))
}

/// Adds the accuracies of a study under the names of the published results on arithmetic.
pub(super) fn set_accuracies(measures: &mut Measures, report: &AblationReport) {
    let all = report.rows.first();
    let (random, complement) = (all.and_then(|row| row.randomly_sampled), all.and_then(|row| row.complement_sampled));
    measures.set("acc_full", report.full.accuracy);
    measures.set("acc_ablated", all.map(|row| row.zero_ablate.accuracy));
    measures.set("acc_random_mean", random.map(|controls| controls.accuracy_mean));
    measures.set("acc_random_sd", random.map(|controls| controls.accuracy_sd));
    measures.set("p_random", random.map(|controls| controls.p_value));
    measures.set("acc_complement_mean", complement.map(|controls| controls.accuracy_mean));
    measures.set("acc_complement_sd", complement.map(|controls| controls.accuracy_sd));
}
