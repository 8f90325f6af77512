//! A grammar whose names are resolved and whose sentences are counted.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::count::{Counted, Phrase, TooMany, Ways, add, phrase_of, slots};
use super::format::{self, Entries, Entry, GrammarFile, Texts};
use super::order::{Named, in_order, unique};
use super::sentence::{Change, Sentence};
use super::source::{Place, Source};
use super::template::{Choice, Symbols, Text, has_other};
use super::words::{self, Feature, WordClass};
use crate::error::{TrainError, did_you_mean};

/// A grammar.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) features: Vec<Feature>,
    pub(super) classes: Vec<WordClass>,
    pub(super) phrases: Vec<Phrase>,
    /// Names of the groups of templates.
    pub(super) groups: Vec<String>,
    pub(super) templates: Vec<Template>,
    pub(super) columns: Vec<(String, Text)>,
    pub(super) partners: Vec<(String, Change)>,
}

/// A template of sentences.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// Index of its group.
    pub(super) group: usize,
    pub(super) text: Counted,
    /// The sentences by the features that they use.
    pub(super) parts: Vec<Part>,
    /// Number of sentences.
    pub(super) count: u128,
}

/// The sentences of a template that use the same features.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The features of the text.
    pub(super) used: u64,
    /// The features of the text and of the columns, with the number of their values.
    pub(super) features: Vec<(usize, usize)>,
    /// Number of ways to expand the text.
    pub(super) ways: u128,
    /// Number of the first sentence in the template.
    pub(super) start: u128,
}

impl Model {
    /// Resolves the names of a grammar file and counts its sentences.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] with line and key for everything that is wrong with it.
    pub(super) fn new(source: &Source, file: GrammarFile) -> Result<Self, TrainError> {
        unique(source, &file)?;
        let features = words::features(source, file.features)?;
        let classes = words::word_classes(source, &features, file.words)?;
        let names: Vec<String> = file.phrases.0.iter().map(|entry| entry.name.clone()).collect();
        let mut symbols = Symbols { source, features: &features, classes: &classes, phrases: &names, is_column: false };
        let phrases = Phrases::new(&symbols, file.phrases)?;
        let templates = groups(&symbols, &file.templates)?;
        symbols.is_column = true;
        let column = |Entry { name, value, .. }: &Entry<Spanned<String>>| {
            let place = Place::new("columns", name, value.span().start);
            Ok((place.clone(), name.clone(), symbols.parse(&place, value.get_ref())?))
        };
        let columns: Vec<(Place, String, Text)> =
            file.columns.0.iter().map(column).collect::<Result<_, TrainError>>()?;
        for template in &templates {
            has_words(&symbols, &template.place, &phrases.certain_of(&template.text), &columns)?;
        }
        let in_columns = columns.iter().fold(0, |used, (_, _, text)| used | features_of(text));
        let mut counted = Vec::new();
        for Parsed { place, group, text } in templates {
            let template = Counted::new(text, &features, &classes, &phrases.ways)
                .and_then(|text| Template::new(group, text, in_columns, &features));
            counted.push((place.clone(), template.map_err(|TooMany| source.error(&place, TOO_MANY))?));
        }
        let partners = partners(&symbols, file.partners, &counted)?;
        Ok(Self {
            groups: file.templates.0.into_iter().map(|entry| entry.name).collect(),
            templates: counted.into_iter().map(|(_, template)| template).collect(),
            columns: columns.into_iter().map(|(_, name, text)| (name, text)).collect(),
            partners,
            phrases: phrases.phrases,
            features,
            classes,
        })
    }

    /// The sentence of a number below [`Template::count`].
    pub(super) fn sentence(&self, template: usize, index: u128) -> Sentence<'_> {
        let template = &self.templates[template];
        let mut sentence = Sentence { values: vec![None; self.features.len()], ..Sentence::default() };
        let Some(part) = template.part(index) else { return sentence };
        let (mut combination, way) = ((index - part.start) / part.ways, (index - part.start) % part.ways);
        for (feature, n_values) in part.features.iter().rev() {
            sentence.values[*feature] = Some((combination % *n_values as u128) as usize);
            combination /= *n_values as u128;
        }
        template.text.expand(part.used, way, &self.phrases, &mut sentence);
        sentence
    }
}

const TOO_MANY: &str = "2^128 sentences or more, which cannot be counted; use fewer or shorter phrases";

impl Template {
    fn new(group: usize, text: Counted, in_columns: u64, features: &[Feature]) -> Result<Self, TooMany> {
        let (mut parts, mut count) = (Vec::new(), 0_u128);
        for (used, ways) in &text.ways {
            let vary = (0..features.len()).filter(|feature| (used | in_columns) >> feature & 1 == 1);
            let vary: Vec<(usize, usize)> = vary.map(|feature| (feature, features[feature].values.len())).collect();
            let all = vary.iter().try_fold(*ways, |all, (_, n_values)| all.checked_mul(*n_values as u128));
            parts.push(Part { used: *used, features: vary, ways: *ways, start: count });
            count = count.checked_add(all.ok_or(TooMany)?).ok_or(TooMany)?;
        }
        Ok(Self { group, text, parts, count })
    }

    /// The part of a sentence.
    pub(super) fn part(&self, index: u128) -> Option<&Part> {
        self.parts.get(self.parts.partition_point(|part| part.start <= index).checked_sub(1)?)
    }
}

/// A template before its sentences are counted.
struct Parsed {
    place: Place,
    /// Index of its group.
    group: usize,
    text: Text,
}

/// The phrases, with what depends on their alternatives.
struct Phrases {
    phrases: Vec<Phrase>,
    ways: BTreeMap<usize, Ways>,
    /// The word classes that every way of a phrase has.
    certain: BTreeMap<usize, BTreeSet<usize>>,
}

impl Phrases {
    fn new(symbols: &Symbols<'_>, entries: Entries<Texts>) -> Result<Self, TrainError> {
        let mut parsed = Vec::new();
        for Entry { name, start, value } in entries.0 {
            let place = Place::new("phrases", &name, start);
            let texts = texts(symbols, "phrases", &name, &value)?;
            if texts.is_empty() {
                return Err(symbols.source.error(&place, "no alternatives, but a phrase needs at least one"));
            }
            parsed.push(Named { place, name, texts: texts.into_iter().map(|(_, text)| text).collect() });
        }
        let order = in_order(symbols.source, &parsed)?;
        let mut all = Self { phrases: Vec::new(), ways: BTreeMap::new(), certain: BTreeMap::new() };
        let mut counted = BTreeMap::new();
        for index in order {
            let Named { place, texts, .. } = &parsed[index];
            let certain = texts.iter().map(|text| all.certain_of(text)).reduce(|a, b| &a & &b).unwrap_or_default();
            let mut phrase = Phrase { alternatives: Vec::new(), ways: Ways::new() };
            for text in texts.clone() {
                let failed = |TooMany| symbols.source.error(place, TOO_MANY);
                let text = Counted::new(text, symbols.features, symbols.classes, &all.ways).map_err(failed)?;
                for (features, count) in &text.ways {
                    add(&mut phrase.ways, *features, *count).map_err(failed)?;
                }
                phrase.alternatives.push(text);
            }
            all.ways.insert(index, phrase.ways.clone());
            all.certain.insert(index, certain);
            counted.insert(index, phrase);
        }
        all.phrases = counted.into_values().collect();
        Ok(all)
    }

    /// The word classes that every way of a text has.
    fn certain_of(&self, text: &Text) -> BTreeSet<usize> {
        let own = slots(text).map(|slot| slot.class);
        let phrases = text.pieces.iter().filter_map(phrase_of).filter_map(|phrase| self.certain.get(&phrase));
        own.chain(phrases.flatten().copied()).collect()
    }
}

/// The alternatives of an entry, each with its place.
fn texts(symbols: &Symbols<'_>, section: &str, name: &str, texts: &Texts) -> Result<Vec<(Place, Text)>, TrainError> {
    let parse = |text: &Spanned<String>| {
        let place = Place::new(section, name, text.span().start);
        let text = symbols.parse(&place, text.get_ref())?;
        Ok((place, text))
    };
    texts.0.iter().map(parse).collect()
}

/// The templates of all groups.
fn groups(symbols: &Symbols<'_>, entries: &Entries<Texts>) -> Result<Vec<Parsed>, TrainError> {
    let mut templates = Vec::new();
    for (group, Entry { name, start, value }) in entries.0.iter().enumerate() {
        let texts = texts(symbols, "templates", name, value)?;
        if texts.is_empty() {
            let place = Place::new("templates", name, *start);
            return Err(symbols.source.error(&place, "no templates, but a group needs at least one"));
        }
        templates.extend(texts.into_iter().map(|(place, text)| Parsed { place, group, text }));
    }
    match templates.is_empty() {
        true => Err(symbols.source.error_of_file("no templates, but [templates] needs at least one group of them")),
        false => Ok(templates),
    }
}

/// Checks that each word of a column is determined: it is in every sentence of a template, or its class has one lemma.
fn has_words(
    symbols: &Symbols<'_>,
    template: &Place,
    certain: &BTreeSet<usize>,
    columns: &[(Place, String, Text)],
) -> Result<(), TrainError> {
    for (place, _, text) in columns {
        let open = slots(text).find(|slot| symbols.classes[slot.class].lemmas() > 1 && !certain.contains(&slot.class));
        if let Some(slot) = open {
            let class = &symbols.classes[slot.class];
            return Err(symbols.source.error(
                place,
                format!(
                    "`{}` has {} lemmas and some sentences of `{}` have none of them, so it is not known which one the \
                     column holds; use a class of one lemma, or one that all sentences have",
                    class.name,
                    class.lemmas(),
                    template.key
                ),
            ));
        }
    }
    Ok(())
}

/// The features of the slots of a text.
fn features_of(text: &Text) -> u64 {
    slots(text).flat_map(|slot| &slot.values).fold(0, |used, choice| match choice {
        Choice::Feature(feature) | Choice::Other(feature) => used | 1 << feature,
        Choice::Local(_) => used,
    })
}

/// The columns with minimal pairs.
fn partners(
    symbols: &Symbols<'_>,
    entries: Entries<format::Change>,
    templates: &[(Place, Template)],
) -> Result<Vec<(String, Change)>, TrainError> {
    let feature_of = |name: &str| {
        let known: Vec<String> = symbols.features.iter().map(|feature| feature.name.clone()).collect();
        let found = known.iter().position(|known| known == name);
        found.ok_or_else(|| format!("`{name}`{} is no feature", did_you_mean(name, &known)))
    };
    let class_of = |name: &String| {
        let known: Vec<String> = symbols.classes.iter().map(|class| class.name.clone()).collect();
        let found = known.iter().position(|known| known == name);
        found.ok_or_else(|| format!("`{name}`{} is no word class", did_you_mean(name, &known)))
    };
    let change = |value: format::Change| -> Result<Change, String> {
        match value {
            format::Change::Feature(name) => Ok(vec![(feature_of(&name)?, None)]),
            format::Change::Words(entries) => entries
                .0
                .into_iter()
                .map(|Entry { name, value, .. }| {
                    let classes = value.0.iter().map(class_of).collect::<Result<_, _>>()?;
                    Ok((feature_of(&name)?, Some(classes)))
                })
                .collect(),
        }
    };
    let partner = |Entry { name, start, value }: Entry<format::Change>| {
        let failed = |reason| symbols.source.error(&Place::new("partners", &name, start), reason);
        let change = change(value).map_err(failed)?;
        for (feature, _) in &change {
            has_other(&symbols.features[*feature]).map_err(failed)?;
            let lacks = |part: &Part| part.features.iter().all(|(used, _)| used != feature);
            if let Some((place, _)) = templates.iter().find(|(_, template)| template.parts.iter().any(lacks)) {
                let feature = &symbols.features[*feature].name;
                return Err(failed(format!(
                    "`{feature}` does not occur in all sentences of `{}`, so they have no partner",
                    place.key
                )));
            }
        }
        Ok((name, change))
    };
    entries.0.into_iter().map(partner).collect()
}
