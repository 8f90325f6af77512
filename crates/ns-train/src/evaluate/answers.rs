//! The answers of a model, as labels of the examples.

use std::collections::{BTreeMap, BTreeSet};

use ns_models::{Head, Model};
use serde_json::Value;

use super::candidates::{Answers, Candidates};
use super::scores::{Answering, answer_scores};
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::recipe::{Answer, AnswerClasses, BehaviourSection};

/// The examples with the answers of a model as their labels: indices of its logits. `config` is the model's
/// `config.json`; `key` is the key of the recipe that names the label.
///
/// The answer of the head's own classes is the class with the name of the label or, if the names of all labels are
/// numbers, the logit with this index. For arithmetic it is the label itself, a token.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the head has no class for a label, if a sequence has several labels but the head
/// predicts one, and for an answer that is not one token.
pub(crate) fn with_answers<M: Answering>(
    examples: Examples,
    model: &M,
    config: &Value,
    behaviour: &BehaviourSection,
    key: &'static str,
) -> Result<Answers, TrainError> {
    check_head(&examples, model)?;
    let answers = match &behaviour.answer {
        Answer::Own(_) => own_answers(examples, config, behaviour.among, key)?,
        Answer::Columns(_) => {
            let missing = || TrainError::setting("behaviour.answer", "two columns", "only a table has columns");
            let (examples, wrong) = examples.with_answer_columns().ok_or_else(missing)?;
            Answers { examples, candidates: Candidates::Wrong(wrong) }
        }
        Answer::Classes(AnswerClasses { classes }) => class_answers(&examples, classes)?,
    };
    if !matches!(behaviour.answer, Answer::Own(_)) {
        let expected = "answers that are tokens need a language-model head; use answer = \"label\"";
        let found = format!("tokens, but the model is a {}", model.head().name());
        TrainError::check(model.head().is_language_model(), "behaviour.answer", found, expected)?;
    }
    check_scores(&answers, model)?;
    Ok(answers)
}

/// The answers of the head's own classes.
fn own_answers(
    examples: Examples,
    config: &Value,
    among: Option<[usize; 2]>,
    key: &'static str,
) -> Result<Answers, TrainError> {
    let examples = match examples.classes() {
        [] => examples,
        classes => examples.with_labels(&answers(classes, config, key)?),
    };
    let Some([first, past_last]) = among else { return Ok(Answers { examples, candidates: Candidates::All }) };
    let outside = examples.rows().labels.iter().find(|label| !(first..past_last).contains(*label));
    let found = format!("[{first}, {past_last}] without the answer {}", outside.copied().unwrap_or_default());
    let expected = "all answers must be among these logits";
    TrainError::check(outside.is_none(), "behaviour.among", found, expected)?;
    Ok(Answers { examples, candidates: Candidates::Among(first..past_last) })
}

/// The answers of classes that the recipe names.
fn class_answers(examples: &Examples, classes: &BTreeMap<String, String>) -> Result<Answers, TrainError> {
    const KEY: &str = "behaviour.answer.classes";
    let token = |class: &String| match classes.get(class) {
        Some(answer) => examples.answer_token(KEY, answer),
        None => {
            let expected = format!("the label has the class `{class}`, which needs an answer");
            Err(TrainError::setting(KEY, format!("without `{class}`"), expected))
        }
    };
    let names = examples.classes();
    let unknown = classes.keys().find(|class| !names.contains(class));
    let found = format!("with `{}`", unknown.map_or("", String::as_str));
    let expected = format!("the classes of the label are {}", names.join(", "));
    TrainError::check(unknown.is_none(), KEY, found, expected)?;
    let tokens = names.iter().map(token).collect::<Result<Vec<_>, _>>()?;
    let distinct: BTreeSet<&usize> = tokens.iter().collect();
    let expected = "each class needs an answer of its own";
    TrainError::check(distinct.len() == tokens.len(), KEY, "the same for two classes", expected)?;
    Ok(Answers { examples: examples.with_labels(&tokens), candidates: Candidates::Classes(tokens) })
}

/// Index of the logit for each class.
fn answers(classes: &[String], config: &Value, key: &'static str) -> Result<Vec<usize>, TrainError> {
    let names = config["id2label"].as_object();
    let named: Vec<(&str, usize)> =
        names.into_iter().flatten().filter_map(|(id, name)| Some((name.as_str()?, id.parse().ok()?))).collect();
    let by_name = |class: &String| named.iter().find(|(name, _)| name == class).map(|(_, id)| *id);
    let by_number = |class: &String| class.parse::<usize>().ok();
    let found: Option<Vec<usize>> = classes.iter().map(by_name).collect();
    if let Some(answers) = found.or_else(|| classes.iter().map(by_number).collect()) {
        return Ok(answers);
    }
    let unknown = classes.iter().find(|class| by_name(class).is_none()).map_or("", String::as_str);
    let mut names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let expected = format!(
        "the classes of the model are {}; name a column with them, or set `head` to give the model a new head",
        if names.is_empty() { "unnamed".into() } else { names.join(", ") }
    );
    Err(TrainError::setting(key, format!("with the class `{unknown}`"), expected))
}

/// Checks that the head predicts as many labels as the examples have.
fn check_head<M: Model>(examples: &Examples, model: &M) -> Result<(), TrainError> {
    let head = model.head();
    if head == Head::TokenClassification {
        return Ok(());
    }
    let one = examples.rows().ends.is_empty();
    let expected = format!("a {} has one answer for each of them", head.name());
    TrainError::check(one, "data.read", "several positions of a row", expected)?;
    let reads = examples.split().train.first().is_some_and(|row| !examples.positions(*row).is_empty());
    let expected = "a language model answers at a position; `read = \"last\"` is the last token";
    TrainError::check(!head.is_language_model() || reads, "data.read", "missing", expected)
}

/// Checks on one example that the model has a score for each answer.
fn check_scores<M: Answering>(answers: &Answers, model: &M) -> Result<(), TrainError> {
    let examples = &answers.examples;
    let Some(row) = examples.split().train.first() else { return Ok(()) };
    let [_, answers_of_head] = answer_scores(model, &examples.batch(&[*row], &model.device())?, None)?.dims();
    let wrong = match &answers.candidates {
        Candidates::Wrong(wrong) => wrong.iter().max().map_or(0, |largest| largest + 1),
        Candidates::Among(range) => range.end,
        Candidates::All | Candidates::Classes(_) => 0,
    };
    let needed = examples.rows().n_answers.max(wrong);
    let (found, expected) = match model.head().is_language_model() {
        true => (
            format!("with a vocabulary of {answers_of_head} tokens"),
            format!("the largest answer is the token {}", needed.saturating_sub(1)),
        ),
        false => (
            format!("one with {answers_of_head} classes"),
            format!("the data has {needed} classes; set `head` to give the model a new head"),
        ),
    };
    TrainError::check(answers_of_head >= needed, "model", found, expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes_are_found_by_name_or_by_number() {
        let config = json!({ "id2label": { "0": "noun", "1": "verb", "2": "7" } });
        let classes = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(answers(&classes(&["verb", "noun"]), &config, "data.label").unwrap(), [1, 0]);
        assert_eq!(answers(&classes(&["7"]), &config, "data.label").unwrap(), [2], "a name goes before a number");
        assert_eq!(answers(&classes(&["1", "0"]), &json!({}), "data.label").unwrap(), [1, 0]);
        let error = answers(&classes(&["noun", "even"]), &config, "behaviour.label").unwrap_err().to_string();
        assert!(error.contains("behaviour.label is with the class `even`, but the classes of the model are 7, noun"));
    }
}
