//! The task of a recipe: its model, its data and the answers of the model, without what is trained on them.

use toml::{Table, Value};

use super::behaviour::{Answer, BehaviourSection};
use super::document::{Document, insert};
use super::grid::has_kind;
use super::kind::Kind;
use super::sections::Recipe;
use crate::error::TrainError;

/// Keys of what is trained.
const OF_TRAINING: [&str; 7] = ["attribution", "circuit_config", "evaluation", "head", "probe", "sweep", "training"];

impl Document {
    /// The recipe of the model's own task, for commands that train nothing: the model, `[data]` and `[behaviour]`. Its kind
    /// is that of a circuit, and its other sections are empty. It names what the answer of an example is.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] with file, line and key for a key or value that is not part of the grammar, and
    /// if no answer is named; [`TrainError::Recipe`] for a recipe in an old form.
    pub(crate) fn task(&self) -> Result<Recipe, TrainError> {
        has_kind(self)?;
        let mut table = self.table.clone();
        table.retain(|key, _| !OF_TRAINING.contains(&key));
        insert(&mut table, "kind", Kind::Circuit.name().into())?;
        insert(&mut table, "training.epochs", 1.into())?;
        insert(&mut table, "training.batch_size", 1.into())?;
        let labels = take_labels(&mut table);
        let recipe: Recipe = self.deserialize(&table)?;
        self.checked(recipe, labels.as_ref()).map_err(|error| self.locate(error))
    }

    fn checked(&self, mut recipe: Recipe, labels: Option<&Value>) -> Result<Recipe, TrainError> {
        recipe.data.numeric = false;
        if let Some(behaviour) = &recipe.behaviour {
            behaviour.validate()?;
        }
        recipe.data.validate(recipe.kind)?;
        let answered =
            |behaviour: &BehaviourSection| behaviour.label.is_some() || matches!(behaviour.answer, Answer::Columns(_));
        let answered = recipe.behaviour.as_ref().is_some_and(answered) || recipe.data.arithmetic.is_some();
        if recipe.data.label.is_none() && !answered {
            let expected = "an example has one answer: name one column, as `data.label` or `behaviour.label`, or the \
                            columns with the answers, `behaviour.answer = { right = …, wrong = … }`";
            return Err(match labels {
                Some(labels) => TrainError::setting("data.labels", labels, expected),
                None => TrainError::setting("data.label", "missing", expected),
            });
        }
        Ok(recipe)
    }
}

/// Takes the list of labels out of `[data]`. One label is that of the recipe.
fn take_labels(table: &mut Table) -> Option<Value> {
    let data = table.get_mut("data")?.as_table_mut()?;
    let labels = data.remove("labels")?;
    if let Some([label]) = labels.as_array().map(Vec::as_slice) {
        data.entry("label").or_insert(label.clone());
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixtures::file;

    const PROBES: &str = r#"
kind = "linear_probe"
model = "m"
data = { path = "a.csv", text = "text", read = "last", labels = ["a", "b"], split = { column = "set" } }
probe = { vectors = ["attn_update_0", "mlp_update_0"] }
sweep = { "training.epochs" = [1, 2] }
training = { batch_size = 4 }
"#;

    fn task(text: &str, sets: &[&str]) -> Result<Recipe, TrainError> {
        let (_folder, path) = file("recipe.toml", text);
        let mut document = Document::read(&path)?;
        sets.iter().try_for_each(|set| document.set(set))?;
        document.task()
    }

    #[test]
    fn what_is_trained_is_left_out() {
        let recipe = task(PROBES, &["data.label=a"]).unwrap();
        assert_eq!((recipe.kind, recipe.probe, recipe.data.label), (Kind::Circuit, None, Some("a".into())));
        let one = PROBES.replace("[\"a\", \"b\"]", "[\"a\"]");
        assert_eq!(task(&one, &[]).unwrap().data.label, Some("a".into()));
        let answers = "behaviour.answer={ right = \"r\", wrong = \"w\" }";
        assert_eq!(task(PROBES, &[answers]).unwrap().data.label, None);
    }

    #[test]
    fn an_example_has_one_answer_and_keys_are_known() {
        let error = |text: &str, sets: &[&str]| task(text, sets).unwrap_err().to_string();
        let labels = error(PROBES, &[]);
        assert!(labels.contains("line 4, data.labels: [\"a\", \"b\"], but an example has one answer"), "{labels}");
        let none = error(&PROBES.replace("labels = [\"a\", \"b\"], ", ""), &[]);
        assert!(none.contains("line 4, data.label: missing, but an example has one answer"), "{none}");
        assert!(error(PROBES, &["beheviour.label=a"]).contains("beheviour: unknown"));
        assert!(error("variable = \"a2\"\nepochs = 3\n", &[]).contains("it has the old form"));
    }
}
