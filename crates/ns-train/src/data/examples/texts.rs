//! Texts: tokenised once, checked against the model, and cut where that is allowed.

use ns_models::{TextToken, TextTokenizer};

use super::limits::Limit;
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
