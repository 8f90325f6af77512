//! Features and word classes.

use std::collections::BTreeSet;

use super::format::{Entries, Entry, Forms, Names};
use super::source::{Place, Source};
use crate::error::{TrainError, did_you_mean};

/// Most features of a grammar: sets of them are the bits of a number.
const MOST_FEATURES: usize = 64;

/// A feature of sentences.
#[derive(Clone, Debug)]
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

/// A class of words: the same lemmas in each of its forms.
#[derive(Clone, Debug)]
pub(super) struct WordClass {
    pub(super) name: String,
    forms: Vec<Form>,
}

/// A form of all lemmas of a class.
#[derive(Clone, Debug)]
struct Form {
    /// The values that a slot must have for this form.
    key: BTreeSet<String>,
    /// The form of each lemma.
    words: Vec<String>,
}

impl WordClass {
    /// Number of lemmas.
    pub(super) fn lemmas(&self) -> usize {
        self.forms.first().map_or(0, |form| form.words.len())
    }

    /// A form of a lemma.
    pub(super) fn word(&self, form: usize, lemma: usize) -> &str {
        self.forms.get(form).and_then(|form| form.words.get(lemma)).map_or("", String::as_str)
    }

    /// All forms of all lemmas.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().flat_map(|form| form.words.iter().map(String::as_str))
    }

    /// The one form that values select, or what is wrong.
    pub(super) fn select(&self, values: &BTreeSet<&str>) -> Result<usize, String> {
        let matches = |form: &Form| form.key.iter().all(|value| values.contains(value.as_str()));
        let found: Vec<usize> = (0..self.forms.len()).filter(|form| matches(&self.forms[*form])).collect();
        let names = |forms: &mut dyn Iterator<Item = usize>| {
            forms.map(|form| format!("`{}`", self.key(form))).collect::<Vec<_>>().join(", ")
        };
        let given = match values.is_empty() {
            true => "no values".to_owned(),
            false => format!("`{}`", values.iter().copied().collect::<Vec<_>>().join(" ")),
        };
        match found[..] {
            [form] => Ok(form),
            [] => Err(format!(
                "{given} selects no form of `{}`, whose forms are {}; name the features that select one",
                self.name,
                names(&mut (0..self.forms.len()))
            )),
            _ => Err(format!(
                "{given} selects {} forms of `{}`: {}; name fewer features, or make the forms exclude each other",
                found.len(),
                self.name,
                names(&mut found.iter().copied())
            )),
        }
    }

    fn key(&self, form: usize) -> String {
        self.forms[form].key.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// Reads the features.
///
/// # Errors
/// Returns [`TrainError::RecipeKey`] for a feature without values, a value that occurs twice or has a space, and too
/// many features.
pub(super) fn features(source: &Source, entries: Entries<Vec<String>>) -> Result<Vec<Feature>, TrainError> {
    let mut features = Vec::new();
    for Entry { name, start, value: values } in entries.0 {
        let failed = |reason: String| Err(source.error(&Place::new("features", &name, start), reason));
        if values.is_empty() {
            return failed("a feature needs values, e.g. [\"singular\", \"plural\"]".into());
        }
        if let Some(value) = values.iter().find(|value| value.is_empty() || value.contains(char::is_whitespace)) {
            return failed(format!("the value `{value}`, but a value is one word"));
        }
        let mut known = BTreeSet::new();
        if let Some(value) = values.iter().find(|value| !known.insert(*value)) {
            return failed(format!("the value `{value}` occurs twice"));
        }
        if features.len() == MOST_FEATURES {
            return failed(format!("one feature too many; there may be {MOST_FEATURES}"));
        }
        features.push(Feature { name, values });
    }
    Ok(features)
}

/// Reads the word classes.
///
/// # Errors
/// Returns [`TrainError::RecipeKey`] for a class without words, forms of unequal number, an unknown value in the name of
/// a form, and a suffix without one list of words that it belongs to.
pub(super) fn word_classes(
    source: &Source,
    features: &[Feature],
    entries: Entries<Forms>,
) -> Result<Vec<WordClass>, TrainError> {
    let class = |Entry { name, start, value }: Entry<Forms>| {
        let failed = |reason: String| source.error(&Place::new("words", &name, start), reason);
        let forms = match value {
            Forms::One(words) => vec![Form { key: BTreeSet::new(), words }],
            Forms::Several(forms) => several(features, forms).map_err(failed)?,
        };
        let lemmas = forms.first().map_or(0, |form| form.words.len());
        if lemmas == 0 {
            return Err(failed("no words, but a word class needs at least one".into()));
        }
        let class = WordClass { name: name.clone(), forms };
        if let Some(form) = (0..class.forms.len()).find(|form| class.forms[*form].words.len() != lemmas) {
            let (other, found) = (class.key(form), class.forms[form].words.len());
            return Err(failed(format!(
                "{lemmas} words in the form `{}` and {found} in `{other}`, but each lemma needs every form",
                class.key(0)
            )));
        }
        Ok(class)
    };
    entries.0.into_iter().map(class).collect()
}

fn several(features: &[Feature], entries: Entries<Names>) -> Result<Vec<Form>, String> {
    let values: Vec<String> = features.iter().flat_map(|feature| feature.values.clone()).collect();
    let suffix_of = |names: &Names| match &names.0[..] {
        [word] => word.strip_prefix('+').map(str::to_owned),
        _ => None,
    };
    let lists: Vec<Names> = entries.0.iter().map(|entry| entry.value.clone()).collect();
    let lists: Vec<&Names> = lists.iter().filter(|names| suffix_of(names).is_none()).collect();
    let form = |entry: Entry<Names>| {
        let key: BTreeSet<String> = entry.name.split_whitespace().map(str::to_owned).collect();
        if let Some(value) = key.iter().find(|value| !values.contains(value)) {
            return Err(format!("the form `{value}`{} is no value of a feature", did_you_mean(value, &values)));
        }
        let words = match (suffix_of(&entry.value), &lists[..]) {
            (None, _) => entry.value.0,
            (Some(suffix), [words]) => words.0.iter().map(|word| format!("{word}{suffix}")).collect(),
            (Some(suffix), others) => {
                let found = others.len();
                return Err(format!(
                    "the suffix `+{suffix}` with {found} forms that list words, but it needs exactly one"
                ));
            }
        };
        Ok(Form { key, words })
    };
    entries.0.into_iter().map(form).collect()
}
