//! Texts: tokenised once, checked against the model, and cut where that is allowed.

use std::ops::Range;

use ns_models::{TextToken, TextTokenizer};

use super::ModelLimits;
use super::ragged::Ragged;
use super::read::{Reader, Reading};
use super::sequences::Sequences;
use super::tables::Tables;
use super::token_row::TokenRow;
use crate::error::TrainError;

/// Texts that are tokenised together. Their tokens take much more memory than their ids.
const CHUNK: usize = 1024;

/// The tokens of all rows, and what is read from each.
#[derive(Default)]
pub(super) struct TokenizedRows {
    pub(super) sequences: Sequences,
    /// What is read; empty without a rule.
    pub(super) readings: Vec<Reading>,
    /// Number of tokens that the tokenizer adds before and after a text.
    pub(super) added: [usize; 2],
}

/// How long a row may be.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    max_length: Option<usize>,
    vocab_size: Option<usize>,
    truncate: bool,
    from_left: bool,
}

impl Limit {
    pub(super) fn new(limits: ModelLimits, tokenizer: Option<&TextTokenizer>, truncate: bool) -> Self {
        let own = tokenizer.and_then(TextTokenizer::max_length);
        let max_length = [limits.max_length, own].into_iter().flatten().min();
        let from_left = tokenizer.is_some_and(|tokenizer| tokenizer.row_format().truncates_left);
        Self { max_length, vocab_size: limits.vocab_size, truncate, from_left }
    }

    /// The tokens of a row that stay: added tokens, own tokens, added tokens. Counts the positions of `reading` among
    /// them.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] for a row that is too long, or that loses a token that is read.
    pub(super) fn cut(
        &self,
        (tables, row): (&Tables, usize),
        tokens: &TokenRow<'_>,
        reading: &mut Reading,
    ) -> Result<[Range<usize>; 3], TrainError> {
        let (len, own) = (tokens.len(), tokens.own.clone());
        let parts = |kept: Range<usize>| [0..own.start, kept, own.end..len];
        let Some(limit) = self.max_length.filter(|limit| len > *limit) else { return Ok(parts(own.clone())) };
        let found = format!("{len} tokens long");
        let too_long = |expected: String| tables.invalid(row, "the row", found.clone(), expected);
        if !self.truncate {
            return Err(too_long(format!(
                "the model reads at most {limit}; shorten it, or set `data.truncate = true`"
            )));
        }
        let room = (limit + own.len())
            .checked_sub(len)
            .filter(|room| *room > 0)
            .ok_or_else(|| too_long(format!("the model reads at most {limit}, which the added tokens fill")))?;
        let kept = if self.from_left { own.end - room..own.end } else { own.start..own.start + room };
        for position in &mut reading.positions {
            *position = match *position {
                before if before < own.start => before,
                after if after >= own.end => after - (own.len() - room),
                inside if kept.contains(&inside) => inside - (kept.start - own.start),
                lost => {
                    let expected =
                        format!("the model reads at most {limit}, and token {lost}, which is read, would be cut off");
                    return Err(too_long(expected));
                }
            };
        }
        Ok(parts(kept))
    }

    /// Checks that the ids are in the vocabulary of the model.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] for an id that is not.
    pub(super) fn check_ids(&self, (tables, row): (&Tables, usize), ids: &[u32]) -> Result<(), TrainError> {
        let Some(size) = self.vocab_size else { return Ok(()) };
        match ids.iter().find(|id| **id as usize >= size) {
            None => Ok(()),
            Some(id) => {
                let expected = format!("the vocabulary of the model has {size} tokens, counted from 0");
                Err(tables.invalid(row, "a token id", id.to_string(), expected))
            }
        }
    }
}

/// Tokenises a column of texts.
///
/// # Errors
/// Returns [`TrainError::Data`] for a text without tokens, longer than the model or with tokens that the model does not
/// know, and for tokens that are read but not there; [`TrainError::Model`] if a text cannot be tokenised.
pub(super) fn read_texts(
    tables: &Tables,
    texts: &[&str],
    tokenizer: &TextTokenizer,
    limit: Limit,
    reader: Option<&Reader<'_>>,
) -> Result<TokenizedRows, TrainError> {
    let format = tokenizer.row_format();
    let types = format.token_types.then(Ragged::default);
    let sequences = Sequences { types, format, always_masked: true, ..Sequences::default() };
    let mut rows = TokenizedRows { sequences, ..TokenizedRows::default() };
    for (chunk, texts) in texts.chunks(CHUNK).enumerate() {
        for (index, (encoded, text)) in tokenizer.encode_rows(texts)?.iter().zip(texts).enumerate() {
            rows.add((tables, chunk * CHUNK + index), text, encoded.tokens(), limit, reader)?;
        }
    }
    Ok(rows)
}

impl TokenizedRows {
    fn add(
        &mut self,
        row: (&Tables, usize),
        text: &str,
        encoded: &[TextToken],
        limit: Limit,
        reader: Option<&Reader<'_>>,
    ) -> Result<(), TrainError> {
        let tokens = TokenRow::of_text(text, encoded);
        if encoded.is_empty() {
            return Err(row.0.invalid(row.1, "the text", "without tokens", "a model needs at least one"));
        }
        let mut reading = reader.map(|reader| reader.read(row.1, &tokens)).transpose()?;
        let kept = limit.cut(row, &tokens, reading.as_mut().unwrap_or(&mut Reading::default()))?;
        let kept = || kept.iter().cloned().flatten().map(|at| &encoded[at]);
        let ids: Vec<u32> = kept().map(|token| token.id).collect();
        limit.check_ids(row, &ids)?;
        self.sequences.ids.push(ids);
        if let Some(types) = &mut self.sequences.types {
            types.push(kept().map(|token| token.token_type));
        }
        self.readings.extend(reading);
        if !tokens.own.is_empty() {
            self.added = [tokens.own.start, encoded.len() - tokens.own.end];
        }
        Ok(())
    }
}
