//! Texts with slots: `the {N number} that the {ES}`.

use std::collections::BTreeSet;

use super::source::{Place, Source};
use super::words::{Feature, WordClass};
use crate::error::{TrainError, did_you_mean};

/// The name of a slot that holds the whole sentence, in columns.
pub(super) const SENTENCE: &str = "sentence";

/// A text whose symbols are resolved.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) pieces: Vec<Piece>,
    /// The feature of each value that is of this text alone.
    pub(super) locals: Vec<usize>,
}

/// A part of a text.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Literal(String),
    Word(Slot),
    /// The index of a phrase.
    Phrase(usize),
    /// The whole sentence.
    Sentence,
}

/// A place for a word of a class.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Index of the class.
    pub(super) class: usize,
    /// What selects the form.
    pub(super) values: Vec<Choice>,
    /// Number of values of each of them.
    pub(super) n_values: Vec<usize>,
    /// The form for each combination of values; the last value varies fastest.
    pub(super) forms: Vec<usize>,
}

/// Where a slot takes a value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// A feature of the sentence.
    Feature(usize),
    /// The other value of a feature with two values.
    Other(usize),
    /// A value of this text alone.
    Local(usize),
}

/// What the symbols of a text may be.
pub(super) struct Symbols<'a> {
    pub(super) source: &'a Source,
    pub(super) features: &'a [Feature],
    pub(super) classes: &'a [WordClass],
    /// Names of the phrases.
    pub(super) phrases: &'a [String],
    /// Whether it is the text of a column: it has `{sentence}`, but no phrases and no values of its own.
    pub(super) is_column: bool,
}

impl Symbols<'_> {
    /// Parses a text.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] for unbalanced braces, an unknown symbol or feature, and a slot whose values do
    /// not select exactly one form.
    pub(super) fn parse(&self, place: &Place, text: &str) -> Result<Text, TrainError> {
        let failed = |reason: String| self.source.error(place, reason);
        let mut parsed = Text { pieces: Vec::new(), locals: Vec::new() };
        let mut locals: Vec<&str> = Vec::new();
        for (is_slot, part) in parts(text).map_err(failed)? {
            let piece = match is_slot {
                false => Piece::Literal(part.into()),
                true => self.slot(part, &mut locals).map_err(|reason| failed(format!("`{{{part}}}`: {reason}")))?,
            };
            parsed.pieces.push(piece);
        }
        parsed.locals = locals.iter().filter_map(|name| self.find(name)).collect();
        Ok(parsed)
    }

    fn find(&self, feature: &str) -> Option<usize> {
        self.features.iter().position(|known| known.name == feature)
    }

    fn slot<'t>(&self, slot: &'t str, locals: &mut Vec<&'t str>) -> Result<Piece, String> {
        let mut names = slot.split_whitespace();
        let symbol = names.next().ok_or("no symbol, but a slot is {SYMBOL feature feature}")?;
        let names: Vec<&str> = names.collect();
        let takes_none = |what: &str| match names.first() {
            Some(name) => Err(format!("a {what} takes no feature, but it has `{name}`")),
            None => Ok(()),
        };
        if self.is_column && symbol == SENTENCE {
            return takes_none("sentence").map(|()| Piece::Sentence);
        }
        if let Some(phrase) = self.phrases.iter().position(|name| name == symbol) {
            takes_none("phrase")?;
            let expected = "a phrase, but a column holds only words of the sentence";
            return if self.is_column { Err(expected.into()) } else { Ok(Piece::Phrase(phrase)) };
        }
        let Some(class) = self.classes.iter().position(|class| class.name == symbol) else {
            let known: Vec<String> =
                self.classes.iter().map(|class| &class.name).chain(self.phrases).cloned().collect();
            return Err(format!("`{symbol}`{} is no word class and no phrase", did_you_mean(symbol, &known)));
        };
        let values = names.into_iter().map(|name| self.choice(name, locals)).collect::<Result<Vec<_>, _>>()?;
        if (1..values.len()).any(|index| values[..index].contains(&values[index])) {
            return Err("a feature occurs twice".into());
        }
        let (n_values, forms) = self.forms(class, &values, locals)?;
        Ok(Piece::Word(Slot { class, values, n_values, forms }))
    }

    fn choice<'t>(&self, name: &'t str, locals: &mut Vec<&'t str>) -> Result<Choice, String> {
        let known = |name: &str| {
            self.find(name).ok_or_else(|| {
                let names: Vec<String> = self.features.iter().map(|feature| feature.name.clone()).collect();
                format!("`{name}`{} is no feature", did_you_mean(name, &names))
            })
        };
        if let Some(name) = name.strip_prefix('?') {
            known(name)?;
            if self.is_column {
                return Err(format!("`?{name}`, but a column has no values of its own"));
            }
            let local = locals.iter().position(|local| *local == name).unwrap_or_else(|| {
                locals.push(name);
                locals.len() - 1
            });
            return Ok(Choice::Local(local));
        }
        let Some(name) = name.strip_prefix('!') else { return known(name).map(Choice::Feature) };
        let feature = known(name)?;
        has_other(&self.features[feature]).map(|()| Choice::Other(feature))
    }

    /// The number of values of each choice, and the form for each combination of values.
    fn forms(&self, class: usize, values: &[Choice], locals: &[&str]) -> Result<(Vec<usize>, Vec<usize>), String> {
        let feature_of = |choice: &Choice| match choice {
            Choice::Feature(feature) | Choice::Other(feature) => Some(*feature),
            Choice::Local(local) => locals.get(*local).and_then(|name| self.find(name)),
        };
        let values: Vec<&[String]> =
            values.iter().filter_map(feature_of).map(|feature| &self.features[feature].values[..]).collect();
        let n_values: Vec<usize> = values.iter().map(|values| values.len()).collect();
        let combinations: usize = n_values.iter().product();
        let form = |combination: usize| {
            let mut rest = combination;
            let chosen = values.iter().rev().map(|values| {
                let value = &values[rest % values.len()];
                rest /= values.len();
                value.as_str()
            });
            self.classes[class].select(&chosen.collect::<BTreeSet<_>>())
        };
        Ok((n_values, (0..combinations).map(form).collect::<Result<_, _>>()?))
    }
}

/// Checks that a feature has another value for each value.
pub(super) fn has_other(feature: &Feature) -> Result<(), String> {
    match feature.values.len() {
        2 => Ok(()),
        found => Err(format!("`{}` has {found} values, but only one of two values has another", feature.name)),
    }
}

/// The parts of a text, each with whether it is the inside of a slot.
fn parts(text: &str) -> Result<Vec<(bool, &str)>, String> {
    let unbalanced =
        |brace: char| format!("`{text}` has a `{brace}` without its partner; a slot is {{SYMBOL feature}}");
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        let (literal, from) = rest.split_at(at);
        let inside = from.strip_prefix('{').ok_or_else(|| unbalanced('}'))?;
        let end = inside.find(['{', '}']).filter(|end| inside[*end..].starts_with('}'));
        let end = end.ok_or_else(|| unbalanced('{'))?;
        parts.extend([(false, literal), (true, &inside[..end])]);
        rest = &inside[end + 1..];
    }
    parts.push((false, rest));
    parts.retain(|(is_slot, part)| *is_slot || !part.is_empty());
    Ok(parts)
}
