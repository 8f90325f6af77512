//! The token ids of all rows as model inputs, and as a reader sees them.

use std::ops::Range;

use ns_models::TextTokenizer;

use super::sequences::Sequences;
use super::texts::TokenizedRows;

/// The token ids of all rows, with what is needed to write them.
pub(super) struct Tokens {
    pub(super) sequences: Sequences,
    /// Number of tokens that the tokenizer adds before and after a text.
    added: [usize; 2],
    pub(super) writer: Writer,
}

/// How token ids are written.
pub(super) enum Writer {
    /// As text.
    Text(Box<TextTokenizer>),
    /// As numbers. The tokenizer of the model, if there is one, says what pads and hides tokens.
    Ids(Option<Box<TextTokenizer>>),
    /// As numbers, this one as `=`.
    Arithmetic(u32),
}

impl Tokens {
    pub(super) fn new(rows: TokenizedRows, writer: Writer) -> Self {
        Self { sequences: rows.sequences, added: rows.added, writer }
    }

    /// The tokens of a row that the tokenizer did not add.
    pub(super) fn own(&self, row: usize) -> Range<usize> {
        self.added[0]..self.sequences.ids.row(row).len() - self.added[1]
    }

    /// Id of the token that hides others from a masked language model; `None` if the tokenizer has none.
    pub(super) fn mask_id(&self) -> Option<u32> {
        match &self.writer {
            Writer::Text(tokenizer) => tokenizer.mask_id(),
            Writer::Ids(tokenizer) => tokenizer.as_ref()?.mask_id(),
            Writer::Arithmetic(_) => None,
        }
    }

    /// The text of each token of a row, with the white space before it.
    pub(super) fn pieces(&self, row: usize) -> Vec<String> {
        let ids = self.sequences.ids.row(row);
        match &self.writer {
            Writer::Text(tokenizer) => tokenizer.pieces(ids),
            Writer::Arithmetic(equals) => {
                ids.iter().map(|id| if id == equals { " =".into() } else { format!(" {id}") }).collect()
            }
            Writer::Ids(_) => ids.iter().map(|id| format!(" {id}")).collect(),
        }
    }

    /// The tokens of a row; those that are read are in brackets. Tokens that the tokenizer adds are left out unless
    /// they are read.
    pub(super) fn excerpt(&self, row: usize, read: &[u32]) -> String {
        let pieces = self.pieces(row);
        let own = self.own(row);
        let is_read = |at: usize| read.contains(&(at as u32));
        let shown = |at: &usize| own.contains(at) || is_read(*at);
        let mut text = String::new();
        for at in (0..pieces.len()).filter(shown) {
            let piece = &pieces[at];
            let words = piece.trim_start();
            let (begins, ends) = (is_read(at) && (at == 0 || !is_read(at - 1)), is_read(at) && !is_read(at + 1));
            text.push_str(&piece[..piece.len() - words.len()]);
            text.push_str(if begins { "[" } else { "" });
            text.push_str(words);
            text.push_str(if ends { "]" } else { "" });
        }
        text.trim().to_string()
    }
}
