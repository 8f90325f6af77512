//! What the model of a recipe does on its own task, intact and with the circuit of the run ablated.

use ns_circuit::CircuitModel;
use ns_models::Head;
use serde_json::Value;

use super::base_model::{model_config, read_examples};
use super::base_model_pool::BaseModelPool;
use super::probe_measures::MeasuredSets;
use crate::data::{Dataset, Examples, Masking};
use crate::error::TrainError;
use crate::evaluate::{
    AblationReport, AblationStudy, Answering, Answers, Candidates, Measures, WholeModel, check_outputs, set_behaviour,
    with_answers,
};
use crate::recipe::{
    AblationName, Answer, BehaviourSection, DataSection, Kind, MASK_PROBABILITY, Metric, Recipe, SetName,
};

/// The behaviour that a recipe measures: that of its section, or by default that of a circuit, and of a circuit probe on
/// arithmetic.
pub(super) fn section(recipe: &Recipe, measured: MeasuredSets) -> Option<BehaviourSection> {
    let by_default = match recipe.kind {
        Kind::Circuit | Kind::Attribution => Some(vec![Metric::Accuracy, Metric::Kl]),
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

/// The examples of a recipe, labelled with the answers of the model: as `[behaviour]` says, by default the classes of its
/// own head that the label names; for arithmetic the answers of the task. `recipe` has resolved paths; `config` is the
/// `config.json` of the model.
///
/// # Errors
/// Returns errors of reading the data, and [`TrainError::Setting`] if the head does not have the answers.
pub(super) fn answers<M: Answering>(
    pool: &BaseModelPool,
    recipe: &Recipe,
    model: &M,
    config: &Value,
) -> Result<Answers, TrainError> {
    if recipe.is_language_model() {
        let examples = predicted_tokens(pool, recipe, model)?;
        return Ok(Answers { examples, candidates: Candidates::All });
    }
    // Only resampled values and differences come from partners.
    let compares = recipe.attribution.as_ref().is_some_and(|attribution| attribution.method.needs_partners());
    let resamples = recipe.evaluation.ablations.contains(&AblationName::Resample);
    let partner = recipe.data.partner.clone().filter(|_| compares || resamples);
    let data = DataSection { partner, ..answer_data(recipe, model.head()) };
    answers_of(pool, recipe, &data, model, config)
}

/// What the answers of a recipe are read from: its data, with the label and the position of `[behaviour]`. The recipe must
/// name answers.
pub(super) fn answer_data(recipe: &Recipe, head: Head) -> DataSection {
    let behaviour = recipe.behaviour.clone().unwrap_or_default();
    let columns = match behaviour.answer {
        Answer::Columns(columns) => Some(columns),
        _ => None,
    };
    let label = match (&recipe.data.arithmetic, &columns) {
        (Some(_), _) => Some("answer".into()),
        (None, Some(_)) => None,
        (None, None) => behaviour.label.or(recipe.data.label.clone()),
    };
    // A head that predicts one label for a sequence reads no position.
    let reads = head == Head::TokenClassification || head.is_language_model();
    let read = behaviour.at.or(recipe.data.read.clone()).filter(|_| reads);
    DataSection { label, read, answers: columns, numeric: false, ..recipe.data.clone() }
}

/// The examples of `data`, which is [`answer_data`], labelled with the answers of the model.
///
/// # Errors
/// Returns the errors of [`answers`].
pub(super) fn answers_of<M: Answering>(
    pool: &BaseModelPool,
    recipe: &Recipe,
    data: &DataSection,
    model: &M,
    config: &Value,
) -> Result<Answers, TrainError> {
    let behaviour = recipe.behaviour.clone().unwrap_or_default();
    let key = if behaviour.label.is_some() { "behaviour.label" } else { "data.label" };
    with_answers(read_examples(pool, recipe, data)?, model, config, &behaviour, key)
}

/// The texts of a recipe without a label: a language model predicts their tokens.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the model has no language-model head, and errors of reading the data.
fn predicted_tokens<M: Answering>(pool: &BaseModelPool, recipe: &Recipe, model: &M) -> Result<Examples, TrainError> {
    let texts = read_examples(pool, recipe, &recipe.data)?;
    match model.head() {
        Head::Lm => texts.next_tokens(),
        Head::MaskedLm => {
            let probability = recipe.training.mask_probability.unwrap_or(MASK_PROBABILITY);
            let vocab_size = model_config(recipe)?["vocab_size"].as_u64().map(|size| size as usize);
            texts.masked_tokens(Masking { probability, vocab_size, seed: recipe.seed })
        }
        head => {
            let expected = format!(
                "a {} predicts a variable; name it, or choose a language-model head (GPT2LMHeadModel, BertForMaskedLM)",
                head.name()
            );
            Err(TrainError::setting("data.label", "missing", expected))
        }
    }
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

/// Checks that the sets of a section have examples.
///
/// # Errors
/// Returns [`TrainError::Setting`] if a set is empty.
pub(super) fn check_sets(section: &BehaviourSection, answers: &Answers) -> Result<(), TrainError> {
    sets(section, &answers.examples).map(drop)
}

/// Measures the behaviour of a recipe and adds it to a row. `run_study` runs a study on some rows of `answers`. Returns
/// the reports by set.
///
/// # Errors
/// Returns [`TrainError::Setting`] for a set without examples, and the errors of `run_study`.
pub(super) fn measure(
    recipe: &Recipe,
    section: &BehaviourSection,
    answers: &Answers,
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
        kl: section.metrics.contains(&Metric::Kl),
        reinitialise: ablations.is_some_and(|ablations| ablations.contains(&AblationName::Reinitialise)),
        replaced: ablations.into_iter().flatten().copied().filter(|ablation| ablation.replaces_outputs()).collect(),
        ..AblationStudy::default()
    };
    let mut reports = Vec::new();
    for (set, rows) in sets(section, &answers.examples)? {
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
    (answers, rows, seed): (&Answers, &[usize], u64),
    study: &AblationStudy,
) -> Result<AblationReport, TrainError> {
    let head = circuit.base().head();
    study.run_with(circuit, (answers, rows, seed), |_| Ok(Box::new(WholeModel::new(answers, rows, head))))
}

/// Checks that the ablations of a recipe are possible for its circuit.
///
/// # Errors
/// Returns the errors of [`check_outputs`].
pub(super) fn check_ablations<M: Answering>(recipe: &Recipe, circuit: &CircuitModel<M>) -> Result<(), TrainError> {
    let mut of_outputs = recipe.evaluation.ablations.iter().filter(|ablation| ablation.replaces_outputs());
    of_outputs.try_for_each(|ablation| check_outputs(("evaluation.ablations", ablation.name()), circuit).map(drop))
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
