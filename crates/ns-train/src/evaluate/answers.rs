//! The answers of a model's own head, as labels of the examples.

use ns_models::{Head, Model};
use serde_json::Value;

use super::scores::{Answering, answer_scores};
use crate::data::{Dataset, Examples};
use crate::error::TrainError;

/// The examples with the answers of the head as their labels: indices of its logits. `config` is the model's
/// `config.json`; `key` is the key of the recipe that names the label.
///
/// The answer of an example is the class of the head with the name of its label or, if the names of all labels are
/// numbers, the class with this index. For arithmetic it is the label itself, a token.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the head has no class for a label, and if a sequence has several labels but the
/// head predicts one.
pub(crate) fn with_answers<M: Answering>(
    examples: Examples,
    model: &M,
    config: &Value,
    key: &'static str,
) -> Result<Examples, TrainError> {
    check_head(&examples, model)?;
    let examples = match examples.classes() {
        [] => examples,
        classes => {
            let answers = answers(classes, config, key)?;
            examples.with_labels(&answers)
        }
    };
    check_scores(&examples, model)?;
    Ok(examples)
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
    let expected = format!("a head for {} predicts one label for each of them", head.name());
    TrainError::check(one, "data.read", "several positions of a row", expected)?;
    let answers_tokens = head == Head::Lm && !examples.classes().is_empty();
    let expected = "only the answers of arithmetic are tokens; set `head` to a classification head";
    TrainError::check(!answers_tokens, "model", "a language model", expected)
}

/// Checks on one example that the model has a score for each answer.
fn check_scores<M: Answering>(examples: &Examples, model: &M) -> Result<(), TrainError> {
    let Some(row) = examples.split().train.first() else { return Ok(()) };
    let [_, answers] = answer_scores(model, &examples.batch(&[*row], &model.device())?, None)?.dims();
    let needed = examples.rows().n_answers;
    let expected = format!("the data has {needed} classes; set `head` to give the model a new head");
    TrainError::check(answers >= needed, "model", format!("one with {answers} classes"), expected)
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
