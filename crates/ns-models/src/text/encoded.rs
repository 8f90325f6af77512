//! Encoded texts, with the mapping from token positions to words and bytes of the original text.

use std::ops::Range;

use tokenizers::Encoding;

use crate::inputs::ModelInputs;

/// One of the two texts of a pair. A single text is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextPart {
    /// The first or only text.
    First,
    /// The second of a pair.
    Second,
}

/// A token of a row, with its position in the original text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextToken {
    /// Id in the vocabulary.
    pub id: u32,
    /// The token as the vocabulary writes it, e.g. `##ing`.
    pub token: String,
    /// Token type (segment), 0 or 1.
    pub token_type: u32,
    /// The text that the token comes from; `None` for special tokens and padding.
    pub part: Option<TextPart>,
    /// Byte range of the token in its text.
    pub bytes: Range<usize>,
    /// Index of the token's word in its text, as the tokenizer splits it into words; `None` for special tokens and
    /// padding.
    pub word: Option<usize>,
    /// Whether the tokenizer added the token, like `[CLS]`, `[SEP]` and padding.
    pub special: bool,
    /// Whether the token is padding, which is masked in attention.
    pub padding: bool,
}

/// A word of a text and its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Index of the word in its text.
    pub index: usize,
    /// Positions of the word's tokens in the padded row.
    pub tokens: Range<usize>,
    /// Byte range of the word in its text.
    pub bytes: Range<usize>,
}

/// A row of a batch: the tokens of a text or pair, after truncation and padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedText {
    tokens: Vec<TextToken>,
}

impl EncodedText {
    pub(super) fn new(encoding: &Encoding) -> Self {
        let sequences = encoding.get_sequence_ids();
        let token = |at: usize| {
            let (special, padding) =
                (encoding.get_special_tokens_mask()[at] == 1, encoding.get_attention_mask()[at] == 0);
            let (start, end) = encoding.get_offsets()[at];
            // Without a post-processor, `tokenizers` assigns the padding to the first text.
            let part = sequences[at].filter(|_| !special && !padding);
            TextToken {
                id: encoding.get_ids()[at],
                token: encoding.get_tokens()[at].clone(),
                token_type: encoding.get_type_ids()[at],
                part: part.map(|number| if number == 0 { TextPart::First } else { TextPart::Second }),
                bytes: start..end,
                word: part.and(encoding.get_word_ids()[at]).map(|word| word as usize),
                special,
                padding,
            }
        };
        Self { tokens: (0..encoding.len()).map(token).collect() }
    }

    /// All tokens of the row, special tokens and padding included.
    pub fn tokens(&self) -> &[TextToken] {
        &self.tokens
    }

    /// Returns the positions of the tokens that overlap a byte range of a text; `None` if there are none, for example
    /// because the text was truncated.
    pub fn tokens_of(&self, part: TextPart, bytes: Range<usize>) -> Option<Range<usize>> {
        let overlaps = |token: &TextToken| {
            token.part == Some(part) && token.bytes.start < bytes.end && bytes.start < token.bytes.end
        };
        // The comparison above would let an empty range overlap the token around it.
        let [first, last] = match bytes.is_empty() {
            true => return None,
            false => [self.tokens.iter().position(overlaps)?, self.tokens.iter().rposition(overlaps)?],
        };
        Some(first..last + 1)
    }

    /// Returns the words of a text in order. Words that were truncated away are missing.
    pub fn words(&self, part: TextPart) -> Vec<Word> {
        let mut words: Vec<Word> = Vec::new();
        let of_part = self.tokens.iter().enumerate().filter(|(_, token)| token.part == Some(part));
        for (at, index, bytes) in of_part.filter_map(|(at, token)| Some((at, token.word?, token.bytes.clone()))) {
            match words.last_mut() {
                Some(word) if word.index == index => {
                    word.tokens.end = at + 1;
                    word.bytes.end = word.bytes.end.max(bytes.end);
                }
                _ => words.push(Word { index, tokens: at..at + 1, bytes }),
            }
        }
        words
    }

    /// Returns the positions of the tokens of word `index` of a text; `None` if there is no such word or it was
    /// truncated away.
    pub fn tokens_of_word(&self, part: TextPart, index: usize) -> Option<Range<usize>> {
        self.words(part).into_iter().find(|word| word.index == index).map(|word| word.tokens)
    }
}

/// A batch of encoded texts: the model's inputs, and the tokens of each row.
#[derive(Clone, Debug)]
pub struct TextBatch {
    /// Token ids, attention mask and, for models that read them, token types, each `[batch, seq]`.
    pub inputs: ModelInputs,
    rows: Vec<EncodedText>,
}

impl TextBatch {
    pub(super) fn new(inputs: ModelInputs, rows: Vec<EncodedText>) -> Self {
        Self { inputs, rows }
    }

    /// The rows, one per text or pair.
    pub fn rows(&self) -> &[EncodedText] {
        &self.rows
    }

    /// Returns [`EncodedText::tokens_of`] for the first text of a row; `None` if there is no such row.
    pub fn tokens_of(&self, row: usize, bytes: Range<usize>) -> Option<Range<usize>> {
        self.rows.get(row)?.tokens_of(TextPart::First, bytes)
    }

    /// Returns [`EncodedText::words`] for the first text of a row; empty if there is no such row.
    pub fn words(&self, row: usize) -> Vec<Word> {
        self.rows.get(row).map(|row| row.words(TextPart::First)).unwrap_or_default()
    }

    /// Returns [`EncodedText::tokens_of_word`] for the first text of a row; `None` if there is no such row.
    pub fn tokens_of_word(&self, row: usize, index: usize) -> Option<Range<usize>> {
        self.rows.get(row)?.tokens_of_word(TextPart::First, index)
    }
}
