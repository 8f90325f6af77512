//! What the examples of a section are made of, read from tables or from arithmetic.

use std::path::Path;
use std::sync::Arc;

use super::answers::{self, AnswerIds};
use super::inputs::{Input, read_inputs};
use super::labels::{LabelCells, classify, unlabelled};
use super::language::TokenMasker;
use super::limits::ModelLimits;
use super::partners::Partners;
use super::ragged::Ragged;
use super::read::{Reader, Reading};
use super::tables::Tables;
use super::tokens::{Tokens, Writer};
use super::{Examples, arithmetic, sets};
use crate::data::RowSplit;
use crate::error::TrainError;
use crate::recipe::{ArithmeticSource, DataSection, Files, Named, Partner, Read, Split};

/// What does not change when labels are shuffled.
pub(super) struct Content {
    pub(super) input: Arc<Input>,
    pub(super) partners: Option<Partners>,
    /// The first partner of another length than its row, as a message.
    pub(super) unequal_partner: Option<String>,
    /// Positions that are read in each row; `None` without a rule.
    pub(super) reads: Option<Ragged<u32>>,
    /// Whether the vectors of a row are averaged.
    pub(super) averages: bool,
    /// The distinct labels of a numeric variable.
    pub(super) numbers: Vec<f64>,
    /// Word type of each label, for the control task.
    pub(super) types: WordTypes,
    /// Whether each word of a row has a label of its own.
    pub(super) labels_words: bool,
    /// Whether the sets do not depend on the order of the rows.
    pub(super) sets_are_given: bool,
    /// The answers of a language model, if columns hold them.
    pub(super) answers: Option<AnswerIds>,
    /// Whether the labels are tokens of the texts.
    pub(super) predicts_tokens: bool,
    /// Hides the predicted tokens of a masked language model.
    pub(super) masker: Option<TokenMasker>,
}

/// Word type of each label.
pub(super) enum WordTypes {
    /// Labels have no types.
    None,
    Known(Vec<String>),
    /// Labels have types, but those of the test set, which is a table of its own, are not known.
    Unknown,
}

impl Examples {
    pub(super) fn of_arithmetic(
        source: ArithmeticSource,
        section: &DataSection,
        limits: ModelLimits,
    ) -> Result<Self, TrainError> {
        let (tokens, rows) = arithmetic::read(source, section, limits)?;
        let partners = match &section.partner {
            Some(Partner::Derange { derange }) => {
                Some(Partners::deranged(&rows.split, rows.labels.len(), derange.seed)?)
            }
            _ => None,
        };
        let values = 0..if section.numeric { source.modulus } else { 0 };
        let content = Content {
            reads: reads_of(&tokens.readings),
            input: Arc::new(Input::Tokens(Tokens::new(tokens, Writer::Arithmetic(source.modulus as u32)))),
            partners,
            unequal_partner: None,
            averages: false,
            numbers: values.map(|value| value as f64).collect(),
            types: WordTypes::None,
            labels_words: false,
            sets_are_given: false,
            answers: None,
            predicts_tokens: false,
            masker: None,
        };
        Ok(Self { content: Arc::new(content), rows })
    }

    pub(super) fn from_tables(
        section: &DataSection,
        tables: &Tables,
        model_folder: Option<&Path>,
        limits: ModelLimits,
    ) -> Result<Self, TrainError> {
        let undivided =
            section.label.is_none() && section.split.is_none() && matches!(section.path, Some(Files::One(_)));
        let split = match undivided {
            false => sets::divide(tables, section.split.as_ref())?,
            true => RowSplit { train: (0..tables.len()).collect(), ..RowSplit::default() },
        };
        let reads_all = matches!(section.read, Some(Read::Named(Named::All)));
        let cells = section.label.as_deref().map(|label| LabelCells::read(tables, label, reads_all)).transpose()?;
        let cells = cells.unwrap_or(LabelCells::None);
        let read = section.read.as_ref();
        let reader = read.map(|read| Reader::new(read, tables, &cells, section.text.is_some())).transpose()?;
        let (input, readings) = read_inputs(section, tables, reader.as_ref(), model_folder, limits)?;
        let averages = reader.as_ref().is_some_and(Reader::averages);
        let count = |reading: &Reading| if averages { 1 } else { reading.positions.len() };
        let counts = if reader.is_some() { readings.iter().map(count).collect() } else { vec![1; tables.len()] };
        let (rows, numbers) = match &cells {
            LabelCells::None => (unlabelled(split, &counts), Vec::new()),
            cells => classify(tables, split, cells, &counts, section.numeric)?,
        };
        let types = types_of(section, tables, &readings, &counts)?;
        let reads = reader.is_some().then(|| reads_of(&readings)).flatten();
        let partners = Partners::read(section, tables, &rows.split, model_folder, limits)?;
        let all: Vec<usize> = (0..tables.len()).collect();
        let unequal_partner = partners.as_ref().and_then(|partners| partners.unequal(&input, tables, &all));
        let unequal_partner = unequal_partner.map(|unequal| unequal.to_string());
        if let Some(unequal) = &unequal_partner {
            tracing::warn!("{unequal}");
        }
        let answers = section.answers.as_ref().map(|columns| answers::read(columns, tables, &input)).transpose()?;
        let sets_are_given = !matches!(section.split, Some(Split::Seeded { .. }));
        let labels_words = cells.are_lists();
        let content = Content {
            input: Arc::new(input),
            partners,
            unequal_partner,
            reads,
            averages,
            numbers,
            types,
            labels_words,
            sets_are_given,
            answers,
            predicts_tokens: false,
            masker: None,
        };
        Ok(Self { content: Arc::new(content), rows })
    }
}

fn reads_of(readings: &[Reading]) -> Option<Ragged<u32>> {
    let mut reads = Ragged::default();
    readings.iter().for_each(|reading| reads.push(reading.positions.iter().map(|position| *position as u32)));
    (reads.len() > 0).then_some(reads)
}

/// Word type of each label: the group that the split keeps whole, or else the word that is read, in lower case.
fn types_of(
    section: &DataSection,
    tables: &Tables,
    readings: &[Reading],
    counts: &[usize],
) -> Result<WordTypes, TrainError> {
    let of_rows = |names: Vec<&str>| {
        let names = names.into_iter().zip(counts);
        names.flat_map(|(name, count)| std::iter::repeat_n(name.to_lowercase(), *count)).collect()
    };
    let words = |row: usize, text: &str| -> Vec<String> {
        readings[row].words.iter().map(|bytes| text[bytes.clone()].to_lowercase()).collect()
    };
    let has_words = readings.iter().any(|reading| !reading.words.is_empty());
    let labels_words = matches!(section.read, Some(Read::Named(_)));
    match (&section.split, &section.text) {
        // A word of its own says more than the group of its row.
        (_, Some(column)) if has_words && labels_words => {
            let texts = tables.column(column)?.into_iter().enumerate();
            Ok(WordTypes::Known(texts.flat_map(|(row, text)| words(row, text)).collect()))
        }
        // The split has checked that the first table has the column.
        (Some(Split::Seeded { group: Some(column), .. }), _) => {
            Ok(tables.column(column).map_or(WordTypes::Unknown, |groups| WordTypes::Known(of_rows(groups))))
        }
        (_, Some(column)) if has_words => {
            let texts = tables.column(column)?.into_iter().enumerate();
            let types = texts.zip(counts).flat_map(|((row, text), count)| {
                words(row, text).into_iter().flat_map(move |word| std::iter::repeat_n(word, *count))
            });
            Ok(WordTypes::Known(types.collect()))
        }
        _ => Ok(WordTypes::None),
    }
}
