//! Grammars: templates, words and features that generate labelled sentences with their minimal pairs.

mod count;
mod draw;
mod fair;
mod format;
mod model;
mod order;
mod plan;
mod sample;
mod sentence;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod vocabulary;
mod words;

use std::collections::BTreeSet;
use std::path::Path;

use self::format::GrammarFile;
use self::model::Model;
use self::plan::{Planned, Sets};
use self::sentence::{Change, Sentence};
use self::source::Source;
use self::template::SENTENCE;
pub use self::vocabulary::write_word_tokenizer;
use crate::data::Table;
use crate::error::TrainError;

/// A grammar: a TOML file of templates, words and features that generates sentences.
#[derive(Clone, Debug)]
pub struct Grammar {
    source: Source,
    seed: u64,
    model: Model,
    sets: Option<Sets>,
}

/// Which sentences of a grammar are generated. By default those of `[sets]`; without `[sets]` all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// All sentences: `[sets]` are not used.
    pub all: bool,
    /// Groups of templates; all of them if it is empty. `[sets]` are not used otherwise.
    pub templates: Vec<String>,
    /// Number of sentences, without replacement. `[sets]` are not used then.
    pub sample: Option<usize>,
    /// Seed of the samples; that of the file if it is `None`.
    pub seed: Option<u64>,
    /// Features and their values. They replace those of `[sets]`.
    pub values: Vec<(String, String)>,
}

impl Grammar {
    /// Reads a grammar. docs/grammars.md describes the file.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if the file cannot be read, and [`TrainError::RecipeKey`] with line and key for
    /// everything that is wrong with it: no TOML, unknown keys and names, slots that select no or several forms,
    /// phrases that contain themselves, and 2^128 sentences or more.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let source = Source::read(path.as_ref())?;
        let mut file: GrammarFile = source.parse()?;
        let (seed, sets) = (file.seed, file.sets.take());
        let model = Model::new(&source, file)?;
        let sets = sets.map(|sets| Sets::new(&source, &model, sets)).transpose()?;
        Ok(Self { source, seed, model, sets })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Whether the file has `[sets]`.
    pub fn has_sets(&self) -> bool {
        self.sets.is_some()
    }

    /// Names of the groups of templates, in the order of the file, and the number of their sentences. A number of
    /// 2^128 or more is given as 2^128 - 1.
    pub fn counts(&self) -> Vec<(&str, u128)> {
        let count = |group: usize| {
            let templates = self.model.templates.iter().filter(|template| template.group == group);
            templates.fold(0_u128, |count, template| count.saturating_add(template.count))
        };
        self.model.groups.iter().enumerate().map(|(group, name)| (name.as_str(), count(group))).collect()
    }

    /// Generates sentences, one per row, with the columns `sentence`, `template` (the name of its group), the features,
    /// `[columns]`, `[partners]`, and `set` if they are those of `[sets]`. A feature that does not occur in a sentence is
    /// empty. `progress` is called with the number of sentences that are done and of all.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] if a set asks for more sentences than there are, [`TrainError::Setting`], named
    /// by the option of the command line, for a selection that is not of this grammar, and either for more than
    /// 10,000,000 sentences.
    pub fn generate(&self, selection: &Selection, progress: &mut dyn FnMut(usize, usize)) -> Result<Table, TrainError> {
        let planned = self.plan(selection)?;
        let has_sets = planned.iter().any(|set| set.set.is_some());
        let mut table = Table::new(self.path(), self.column_names(has_sets));
        let total = planned.iter().map(|set| set.derivations.len()).sum();
        for Planned { set, derivations } in &planned {
            for (template, index) in derivations {
                self.write(&mut table, *template, *index, *set);
                progress(table.len(), total);
            }
        }
        Ok(table)
    }

    /// The words of all forms, literal texts and columns, as a pre-tokenizer of the kind `Whitespace` makes them.
    pub fn words(&self) -> BTreeSet<String> {
        vocabulary::words(&self.model)
    }

    fn plan(&self, selection: &Selection) -> Result<Vec<Planned>, TrainError> {
        let values = selection.values.iter().map(|(feature, value)| (feature.as_str(), value.as_str()));
        let fixed = plan::fixed(&self.model.features, values);
        let fixed = fixed.map_err(|expected| {
            let given: Vec<String> = selection.values.iter().map(|(name, value)| format!("{name}={value}")).collect();
            TrainError::setting("--where", given.join(" "), expected)
        })?;
        let seed = selection.seed.unwrap_or(self.seed);
        let without_sets = selection.all || !selection.templates.is_empty() || selection.sample.is_some();
        match &self.sets {
            Some(sets) if !without_sets => sets.plan(&self.source, &self.model, seed, &fixed),
            _ => plan::selected(&self.model, selection, seed, fixed),
        }
    }

    fn column_names(&self, has_sets: bool) -> Vec<String> {
        let model = &self.model;
        let names = [SENTENCE, "template"].into_iter();
        let names = names.chain(model.features.iter().map(|feature| feature.name.as_str()));
        let names = names.chain(model.columns.iter().map(|(name, _)| name.as_str()));
        let names = names.chain(model.partners.iter().map(|(name, _)| name.as_str()));
        names.chain(has_sets.then_some("set")).map(str::to_owned).collect()
    }

    /// Adds the row of a sentence, in the order of [`Grammar::column_names`].
    fn write(&self, table: &mut Table, template: usize, index: u128, set: Option<&str>) {
        let model = &self.model;
        let sentence: Sentence<'_> = model.sentence(template, index);
        let text = sentence.text(&model.classes, &Change::new());
        let mut row = vec![text.as_str(), &model.groups[model.templates[template].group]];
        let values = model.features.iter().zip(&sentence.values);
        row.extend(values.map(|(feature, value)| value.map_or("", |value| feature.values[value].as_str())));
        let columns = model.columns.iter().map(|(_, column)| sentence.column(column, &text, &model.classes));
        let partners = model.partners.iter().map(|(_, change)| sentence.text(&model.classes, change));
        let others: Vec<String> = columns.chain(partners).collect();
        row.extend(others.iter().map(String::as_str));
        row.extend(set);
        table.push(&row);
    }
}
