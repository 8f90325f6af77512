//! The examples of `[data]`: the data set of every kind of recipe.
//!
//! Texts are tokenised once; batches are padded when they are built. [`Examples`] knows which tokens of each row are
//! read and the label of each of them.

mod answers;
mod arithmetic;
mod content;
mod inputs;
mod key;
mod labels;
mod language;
mod limits;
mod partners;
mod pictures;
mod ragged;
mod read;
mod sequences;
mod sets;
mod tables;
#[cfg(test)]
mod tests;
mod texts;
mod token_ids;
mod token_row;
mod tokens;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use ns_models::ModelInputs;
use ns_probe::ProbeBatch;

use self::answers::AnswerIds;
use self::content::{Content, WordTypes};
use self::inputs::Input;
pub(crate) use self::language::Masking;
use self::language::masked_rows;
pub use self::limits::ModelLimits;
use self::partners::Partners;
use self::sequences::PaddedBatch;
use self::tables::Tables;
use crate::data::{Dataset, LabelledRows, shuffled};
use crate::error::TrainError;
use crate::recipe::DataSection;

/// Number of rows, labels and classes of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetSize {
    /// `train`, `dev`, `test` or `ood`.
    pub name: &'static str,
    /// Number of rows.
    pub rows: usize,
    /// Number of labels: one for each vector that is read.
    pub labels: usize,
    /// Number of different labels.
    pub classes: usize,
}

/// Labelled examples: their inputs, what is read from them, their labels and sets. A copy shares the inputs.
#[derive(Clone)]
pub struct Examples {
    content: Arc<Content>,
    rows: LabelledRows,
}

impl Examples {
    /// Reads the examples of a section, whose paths are resolved. Texts need the tokenizer, and image files the image
    /// processor, of the model in `model_folder`.
    ///
    /// The same input in two sets is a warning. Without `data.label` each row has the label 0; without `data.split`, too,
    /// all rows of a table are in the training set.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for keys that do not go together or with the model, [`TrainError::Data`], with
    /// the row, for what the rows do not have, [`TrainError::DataColumn`] for a missing column, and
    /// [`TrainError::Model`] if the tokenizer or the image processor cannot be read.
    pub fn read(section: &DataSection, model_folder: Option<&Path>, limits: ModelLimits) -> Result<Self, TrainError> {
        match section.arithmetic {
            Some(source) => Self::of_arithmetic(source, section, limits),
            None => {
                let (tables, section) = Tables::of(section)?;
                let examples = Self::from_tables(&section, &tables, model_folder, limits)?;
                let shared = examples.shared_inputs();
                if shared > 0 {
                    tracing::warn!("{shared} inputs are in two sets; on them a probe may only show what it memorised");
                }
                Ok(examples)
            }
        }
    }

    /// A control data set (Hewitt and Liang 2019): if words are read, or rows are split by groups, each word type or
    /// group gets one label, sampled from the labels of the training rows. Otherwise the labels are permuted inside each
    /// set.
    pub fn shuffled(&self, seed: u64) -> Self {
        let rows = match (&self.content.types, self.content.labels_words) {
            (WordTypes::Known(types), _) => shuffled::by_type(&self.rows, types, seed),
            (_, true) => shuffled::permuted_labels(&self.rows, seed),
            (_, false) => shuffled::permuted(&self.rows, seed),
        };
        Self { content: self.content.clone(), rows }
    }

    /// The examples with other labels: `labels` holds the new label of each class. The classes have no names then.
    pub(crate) fn with_labels(&self, labels: &[usize]) -> Self {
        let relabelled = self.rows.labels.iter().filter_map(|class| labels.get(*class).copied()).collect();
        let n_answers = labels.iter().max().map_or(0, |largest| largest + 1);
        let rows = LabelledRows { labels: relabelled, n_answers, classes: Vec::new(), ..self.rows.clone() };
        Self { content: self.content.clone(), rows }
    }

    /// The examples with the right answers of a language model as their labels, and the wrong answer of each row; `None`
    /// unless they were read from columns.
    pub(crate) fn with_answer_columns(&self) -> Option<(Self, Vec<usize>)> {
        let AnswerIds { right, wrong } = self.content.answers.as_ref()?;
        let label = |row: usize| self.rows.of(row).iter().map(move |_| right[row]);
        let labels: Vec<usize> = (0..right.len()).flat_map(label).collect();
        let n_answers = right.iter().chain(wrong).max().map_or(0, |largest| largest + 1);
        let rows = LabelledRows { labels, n_answers, classes: Vec::new(), ..self.rows.clone() };
        Some((Self { content: self.content.clone(), rows }, wrong.clone()))
    }

    /// The token that an answer is.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`], named by `key`, if it is not one token, with the tokens that it is.
    pub(crate) fn answer_token(&self, key: &'static str, answer: &str) -> Result<usize, TrainError> {
        let token = answers::token(&self.content.input, answer);
        token.map_err(|(found, expected)| TrainError::setting(key, found, expected))
    }

    /// Whether [`Self::shuffled`] gives all rows the labels of the control task. It does not if the test set is a table
    /// without the column of the groups.
    pub(crate) fn has_control(&self) -> bool {
        !matches!(self.content.types, WordTypes::Unknown)
    }

    /// The numbers that the labels of a numeric variable are indices of; empty for classes.
    pub fn numbers(&self) -> &[f64] {
        &self.content.numbers
    }

    /// The labels of some rows as numbers, in the order of [`Dataset::labels`]; empty for classes.
    pub fn values(&self, rows: &[usize]) -> Vec<f64> {
        let numbers = &self.content.numbers;
        rows.iter().flat_map(|row| self.rows.of(*row)).filter_map(|label| numbers.get(*label)).copied().collect()
    }

    /// A label as the data write it: the name of its class, or its number.
    pub(crate) fn label_name(&self, label: usize) -> String {
        let number = || self.numbers().get(label).map(f64::to_string);
        self.classes().get(label).cloned().or_else(number).unwrap_or_else(|| label.to_string())
    }

    /// A hash of the content of a row: its input and the positions that are read. It depends on nothing else, so it is
    /// the same in any order of rows and on every machine.
    pub fn key(&self, row: usize) -> u64 {
        self.content.input.key(row).add(self.positions(row).iter().flat_map(|at| at.to_le_bytes())).finish()
    }

    /// A hash for each vector that is read from some rows, in the order of [`Dataset::labels`].
    pub fn keys(&self, rows: &[usize]) -> Vec<u64> {
        let of_row = |row: &usize| {
            let positions = self.positions(*row);
            match positions.len() < 2 || self.content.averages {
                true => vec![self.key(*row); self.rows.of(*row).len()],
                false => {
                    let input = self.content.input.key(*row);
                    positions.iter().map(|at| input.add(at.to_le_bytes()).finish()).collect()
                }
            }
        };
        rows.iter().flat_map(of_row).collect()
    }

    /// Like [`Self::key`], for the partner of a row; `None` without partners.
    pub(crate) fn partner_key(&self, row: usize) -> Option<u64> {
        let (partners, partner) = self.content.partners.as_ref()?.of(&self.content.input, row);
        Some(partners.key(partner).finish())
    }

    /// The partners of some rows as model inputs, padded to the longest of them; `None` without partners.
    ///
    /// # Errors
    /// Returns the errors of [`Dataset::batch`].
    pub fn partner_batch(&self, rows: &[usize], device: &Device) -> Result<Option<ModelInputs>, TrainError> {
        let batch = |partners: &Partners| partners.batch(&self.content.input, rows, device);
        self.content.partners.as_ref().map(batch).transpose()
    }

    /// Whether rows have partners.
    pub(crate) fn has_partners(&self) -> bool {
        self.content.partners.is_some()
    }

    /// Checks that each partner has as many tokens as its row. `key` and `what` name what compares them.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] that names the first row whose partner has another length.
    pub(crate) fn check_all_partner_lengths(&self, key: &'static str, what: &str) -> Result<(), TrainError> {
        let Some(unequal) = &self.content.unequal_partner else { return Ok(()) };
        let expected = "it takes the values of a token from the token at its position in the partner";
        Err(TrainError::setting(key, format!("`{what}`, but {unequal}"), expected))
    }

    /// Checks that each of some rows has a partner with as many tokens as the row. `section` is what the examples were read
    /// from.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`], with the row, for the first partner of another length.
    pub(crate) fn check_partner_lengths(&self, section: &DataSection, rows: &[usize]) -> Result<(), TrainError> {
        let Some(partners) = &self.content.partners else { return Ok(()) };
        let input = &self.content.input;
        if section.arithmetic.is_some() || !rows.iter().any(|row| partners.differs(input, *row)) {
            return Ok(());
        }
        // Only the tables know the line of a row.
        let (tables, _) = Tables::of(section)?;
        partners.unequal(input, &tables, rows).map_or(Ok(()), Err)
    }

    /// Number of rows, labels and classes of the sets that have rows.
    pub fn set_sizes(&self) -> Vec<SetSize> {
        let sets = self.rows.split.sets().into_iter().filter(|(_, rows)| !rows.is_empty());
        let size = |(name, rows): (&'static str, &[usize])| {
            let labels = || rows.iter().flat_map(|row| self.rows.of(*row));
            let classes = labels().collect::<HashSet<_>>().len();
            SetSize { name, rows: rows.len(), labels: labels().count(), classes }
        };
        sets.map(size).collect()
    }

    /// Number of different inputs, with the positions that are read, that are in more than one set.
    pub fn shared_inputs(&self) -> usize {
        let mut sets: HashMap<u64, HashSet<&str>> = HashMap::new();
        for (set, rows) in self.rows.split.sets() {
            rows.iter().for_each(|row| {
                sets.entry(self.key(*row)).or_default().insert(set);
            });
        }
        sets.values().filter(|sets| sets.len() > 1).count()
    }

    /// Number of tokens of a row, with those that the tokenizer adds; for images the number of positions.
    pub(crate) fn n_tokens(&self, row: usize) -> usize {
        self.content.input.n_tokens(row)
    }

    /// The token ids of a row; empty for images.
    pub(crate) fn token_ids(&self, row: usize) -> &[u32] {
        match &*self.content.input {
            Input::Tokens(tokens) => tokens.sequences.ids.row(row),
            Input::Images { .. } => &[],
        }
    }

    /// The positions of a row as a reader sees them, with the tokens that the tokenizer adds: `the`, `judge`, …; for images
    /// `class`, `patch 0`, ….
    pub(crate) fn position_names(&self, row: usize) -> Vec<String> {
        match &*self.content.input {
            Input::Tokens(tokens) => tokens.pieces(row).into_iter().map(|piece| piece.trim().to_string()).collect(),
            Input::Images { positions, .. } => {
                let patches = (1..*positions).map(|position| format!("patch {}", position - 1));
                std::iter::once("class".into()).chain(patches).take(*positions).collect()
            }
        }
    }

    /// The row as a reader sees it, with the tokens that are read in brackets: `the judge sat [there] solemnly`.
    pub fn excerpt(&self, row: usize) -> String {
        self.content.input.excerpt(row, self.positions(row))
    }

    /// The partner of a row as a reader sees it; `None` without partners.
    pub(crate) fn partner_excerpt(&self, row: usize) -> Option<String> {
        let (partners, partner) = self.content.partners.as_ref()?.of(&self.content.input, row);
        Some(partners.excerpt(partner, &[]))
    }

    /// The positions that are read in a row: numbers of its tokens, with those that the tokenizer adds.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn positions(&self, row: usize) -> &[u32] {
        self.content.reads.as_ref().map_or(&[], |reads| reads.row(row))
    }
}

impl Dataset for Examples {
    fn rows(&self) -> &LabelledRows {
        &self.rows
    }

    /// The rows, padded to the longest of them. Without a rule for reading no token is selected; for images without
    /// positions the token mask is empty.
    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError> {
        self.batch_of_epoch(rows, None, device)
    }

    fn batching_length(&self, row: usize) -> Option<usize> {
        self.content.predicts_tokens.then(|| self.n_tokens(row))
    }

    fn training_batch(&self, rows: &[usize], epoch: usize, device: &Device) -> Result<ProbeBatch, TrainError> {
        self.batch_of_epoch(rows, Some(epoch), device)
    }

    fn content_keys(&self, rows: &[usize]) -> Option<Vec<u64>> {
        self.content.sets_are_given.then(|| self.keys(rows))
    }
}

impl Examples {
    /// The rows as a batch: for training in an epoch, or for evaluation.
    fn batch_of_epoch(&self, rows: &[usize], epoch: Option<usize>, device: &Device) -> Result<ProbeBatch, TrainError> {
        if let (Some(masker), Input::Tokens(tokens)) = (&self.content.masker, &*self.content.input) {
            let (ids, positions) = masked_rows(masker, tokens, rows, epoch);
            let padded = tokens.sequences.batch_of(rows, &ids, device)?;
            let original = |(row, at): (&usize, &Vec<u32>)| {
                let ids = tokens.sequences.ids.row(*row);
                at.iter().map(|at| i64::from(ids[*at as usize])).collect::<Vec<_>>()
            };
            let labels = rows.iter().zip(&positions).flat_map(original).collect();
            let token_mask = token_mask(&padded, positions.iter().map(Vec::as_slice));
            return Ok(ProbeBatch { inputs: padded.inputs, token_mask, labels, means: Vec::new() });
        }
        let padded = self.content.input.batch(rows, device)?;
        let token_mask = token_mask(&padded, rows.iter().map(|row| self.positions(*row)));
        let inputs = padded.inputs;
        let means = match self.content.averages {
            true => rows.iter().map(|row| self.positions(*row).len()).collect(),
            false => Vec::new(),
        };
        Ok(ProbeBatch { inputs, token_mask, labels: self.labels(rows), means })
    }
}

/// Which tokens of a batch are read. `positions` are those of each row without padding.
fn token_mask<'a>(batch: &PaddedBatch, positions: impl Iterator<Item = &'a [u32]>) -> Vec<bool> {
    let mut mask = vec![false; batch.offsets.len() * batch.seq];
    for (sequence, (positions, offset)) in positions.zip(&batch.offsets).enumerate() {
        for position in positions {
            mask[sequence * batch.seq + offset + *position as usize] = true;
        }
    }
    mask
}

impl fmt::Debug for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examples").field("sets", &self.set_sizes()).finish_non_exhaustive()
    }
}
