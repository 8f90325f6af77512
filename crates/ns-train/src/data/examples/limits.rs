//! What a model can read, and what that means for a row.

use std::ops::Range;

use ns_models::TextTokenizer;

use super::read::Reading;
use super::tables::Tables;
use super::token_row::TokenRow;
use crate::error::TrainError;

/// What a model can read, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelLimits {
    /// Longest sequence, tokens that the tokenizer adds counted.
    pub max_length: Option<usize>,
    /// Number of tokens of the vocabulary.
    pub vocab_size: Option<usize>,
    /// Channels, height and width of the images.
    pub image_shape: Option<[usize; 3]>,
    /// Number of positions of an image, class token and patches; `None` for models without positions.
    pub image_positions: Option<usize>,
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
