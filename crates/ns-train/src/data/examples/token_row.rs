//! The tokens of one row, as the rules of `data.read` see them.

use std::ops::Range;

use ns_models::TextToken;

/// The tokens of one row before padding and truncation.
pub(super) struct TokenRow<'a> {
    /// The text; empty for rows without text.
    pub(super) text: &'a str,
    /// Places of the tokens in the text, with the tokens that the tokenizer adds; empty for rows without text.
    tokens: &'a [TextToken],
    /// Number of tokens.
    len: usize,
    /// The tokens that the tokenizer did not add.
    pub(super) own: Range<usize>,
    /// The tokens that `read = "all"` reads.
    pub(super) all: Range<usize>,
}

impl<'a> TokenRow<'a> {
    /// The tokens of a text.
    pub(super) fn of_text(text: &'a str, tokens: &'a [TextToken]) -> Self {
        let start = tokens.iter().position(|token| !token.special).unwrap_or(tokens.len());
        let end = tokens.iter().rposition(|token| !token.special).map_or(start, |last| last + 1);
        Self { text, tokens, len: tokens.len(), own: start..end, all: start..end }
    }

    /// Tokens without text.
    pub(super) fn of_ids(len: usize) -> Self {
        Self { text: "", tokens: &[], len, own: 0..len, all: 0..len }
    }

    /// The positions of an image: the class token and the patches.
    pub(super) fn of_image(positions: usize) -> Self {
        Self { text: "", tokens: &[], len: positions, own: 0..positions, all: 1.min(positions)..positions }
    }

    /// Number of tokens, added tokens counted.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn has_text(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// The tokens of a part of the text, which must begin and end at the ends of tokens. White space at the ends of a
    /// token belongs to no part.
    ///
    /// # Errors
    /// Returns the reason if no token, or only a part of a token, covers it.
    pub(super) fn covered(&self, bytes: Range<usize>) -> Result<Range<usize>, String> {
        let overlaps = |at: &usize| {
            let token = self.bytes(*at);
            !token.is_empty() && token.start < bytes.end && bytes.start < token.end
        };
        let (first, last) = match (self.own.clone().find(overlaps), self.own.clone().rfind(overlaps)) {
            (Some(first), Some(last)) => (first, last),
            _ => return Err("no token covers it".into()),
        };
        let name = |at: usize| format!("`{}`", self.tokens[at].token);
        let (early, late) = (self.bytes(first).start < bytes.start, self.bytes(last).end > bytes.end);
        match (early, late) {
            (false, false) => Ok(first..last + 1),
            (true, true) if first == last => Err(format!("it is only a part of the token {}", name(first))),
            (true, true) => {
                Err(format!("it begins inside the token {} and ends inside the token {}", name(first), name(last)))
            }
            (true, false) => Err(format!("it begins inside the token {}", name(first))),
            (false, true) => Err(format!("it ends inside the token {}", name(last))),
        }
    }

    /// Byte range of a token without white space at its ends.
    fn bytes(&self, at: usize) -> Range<usize> {
        let bytes = self.tokens[at].bytes.clone();
        // A token may be a part of a character.
        let Some(text) = self.text.get(bytes.clone()) else { return bytes };
        let start = bytes.start + (text.len() - text.trim_start().len());
        start..start + text.trim().len()
    }
}
