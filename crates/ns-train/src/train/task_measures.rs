//! What is measured on models and circuits, when they are trained and again on other data.

use ns_circuit::CircuitModel;
use ns_models::AnyModel;

use super::behaviour;
use super::probe_measures::MeasuredSets;
use super::task::TaskObjective;
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::evaluate::{Answers, Measures};
use crate::recipe::{Recipe, SetName};

/// Loss and accuracy of a model on the sets that have rows. `answers` are the examples with the answers of its head.
pub(super) fn measure_model(
    objective: &TaskObjective,
    model: &AnyModel,
    answers: &Examples,
    measured: MeasuredSets,
) -> Result<Measures, TrainError> {
    let mut measures = majorities(answers);
    for (set, rows) in measured.of(answers.split()) {
        let found = objective.measure(model, answers, rows)?;
        measures.set(&format!("loss_{set}"), found.loss);
        measures.set(&format!("accuracy_{set}"), found.accuracy);
        if objective.predicts_tokens {
            measures.set(&format!("perplexity_{set}"), found.loss.exp());
        }
    }
    Ok(measures)
}

/// Size of a circuit, and the behaviour of its model with and without it. `circuit` is in evaluation mode and has the
/// seed of the run.
pub(super) fn measure_circuit(
    recipe: &Recipe,
    circuit: &CircuitModel<AnyModel>,
    answers: &Answers,
    measured: MeasuredSets,
) -> Result<Measures, TrainError> {
    let (mut measures, l0) = (majorities(&answers.examples), circuit.l0());
    measures.set("l0", l0.weights as f64);
    measures.set("l0_max", l0.max_weights as f64);
    measures.set("l0_lambda", circuit.config().l0_lambda);
    let Some(section) = behaviour::section(recipe, measured) else { return Ok(measures) };
    let study = |rows: &[usize], study: &_| behaviour::run_study(circuit, (answers, rows, recipe.seed), study);
    let reports = behaviour::measure(recipe, &section, answers, &mut measures, study)?;
    let of_test = reports.into_iter().find(|(set, _)| *set == SetName::Test);
    measures.set("ablation", of_test.and_then(|(_, report)| serde_json::to_value(report).ok()));
    Ok(measures)
}

fn majorities(answers: &Examples) -> Measures {
    let mut measures = Measures::default();
    measures.set("majority", answers.rows().train_majority());
    measures.set("majority_test", answers.rows().majority());
    measures
}
