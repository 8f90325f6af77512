//! Checks of names: each is there once, and no phrase contains itself.

use std::collections::BTreeMap;

use super::count::phrase_of;
use super::format::{Entries, GrammarFile};
use super::source::{Place, Source};
use super::template::{SENTENCE, Text};
use crate::error::TrainError;

/// Names of columns that every result has.
const TAKEN: [&str; 3] = [SENTENCE, "template", "set"];

/// A phrase whose texts are parsed.
pub(super) struct Named {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) texts: Vec<Text>,
}

/// Checks that columns, and words and phrases, have names of their own.
///
/// # Errors
/// Returns [`TrainError::RecipeKey`] for a name that occurs twice or cannot be used.
pub(super) fn unique(source: &Source, file: &GrammarFile) -> Result<(), TrainError> {
    let columns = places("features", &file.features)
        .chain(places("columns", &file.columns))
        .chain(places("partners", &file.partners));
    let taken = TAKEN.map(|name| (name, "of every result".to_owned()));
    distinct(source, columns, BTreeMap::from(taken), "a column")?;
    let symbols = places("words", &file.words).chain(places("phrases", &file.phrases));
    let taken = BTreeMap::from([(SENTENCE, "of the whole sentence in columns".to_owned())]);
    distinct(source, symbols, taken, "a word class or phrase")
}

fn places<'a, V>(section: &'a str, entries: &'a Entries<V>) -> impl Iterator<Item = (&'a str, Place)> {
    entries.0.iter().map(move |entry| (entry.name.as_str(), Place::new(section, &entry.name, entry.start)))
}

fn distinct<'a>(
    source: &Source,
    names: impl Iterator<Item = (&'a str, Place)>,
    mut taken: BTreeMap<&'a str, String>,
    what: &str,
) -> Result<(), TrainError> {
    for (name, place) in names {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || "{}?!".contains(c)) {
            return Err(
                source.error(&place, format!("the name `{name}`, but it must be one word without {{, }}, ?, !"))
            );
        }
        if let Some(other) = taken.get(name) {
            return Err(source
                .error(&place, format!("a second `{name}`, but the name of {what} is unique; the other is {other}")));
        }
        taken.insert(name, format!("`{}`", place.key));
    }
    Ok(())
}

/// The phrases in an order in which each is after those that it contains.
///
/// # Errors
/// Returns [`TrainError::RecipeKey`], which shows the cycle, if a phrase contains itself.
pub(super) fn in_order(source: &Source, phrases: &[Named]) -> Result<Vec<usize>, TrainError> {
    let mut order = Vec::new();
    for phrase in 0..phrases.len() {
        visit(source, phrases, phrase, &mut Vec::new(), &mut order)?;
    }
    Ok(order)
}

fn visit(
    source: &Source,
    phrases: &[Named],
    phrase: usize,
    open: &mut Vec<usize>,
    order: &mut Vec<usize>,
) -> Result<(), TrainError> {
    if order.contains(&phrase) {
        return Ok(());
    }
    if let Some(start) = open.iter().position(|outer| *outer == phrase) {
        let cycle = open[start..].iter().chain([&phrase]).map(|index| phrases[*index].name.as_str());
        let cycle = cycle.collect::<Vec<_>>().join(" → ");
        return Err(source.error(
            &phrases[phrase].place,
            format!("it contains itself ({cycle}), so there is no end of sentences; write the depths as phrases of their own"),
        ));
    }
    open.push(phrase);
    for inner in phrases[phrase].texts.iter().flat_map(|text| text.pieces.iter().filter_map(phrase_of)) {
        visit(source, phrases, inner, open, order)?;
    }
    open.pop();
    order.push(phrase);
    Ok(())
}
