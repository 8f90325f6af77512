//! Encoded texts, and the way back from their positions to the words that a reader sees.

use std::ops::Range;

use tokenizers::Encoding;

use crate::inputs::ModelInputs;

/// Which text of a pair; a text that stands alone is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextPart {
    /// The first or only text.
    First,
    /// The second of a pair.
    Second,
}

/// One position of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextToken {
    /// Id in the vocabulary.
    pub id: u32,
    /// The token as the vocabulary writes it, e.g. `##ing`.
    pub token: String,
    /// Segment of the token, 0 or 1.
    pub token_type: u32,
    /// The text that it comes from; `None` for special tokens and padding.
    pub part: Option<TextPart>,
    /// The bytes of that text which it stands for.
    pub bytes: Range<usize>,
    /// The word that it belongs to, counted within its text as the tokenizer splits it.
    pub word: Option<usize>,
    /// Whether the tokenizer added it, as `[CLS]`, `[SEP]` and padding are.
    pub special: bool,
    /// Whether it is padding, which no other position attends to.
    pub padding: bool,
}

/// A word of a text, and the positions that hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its number in the text.
    pub index: usize,
    /// Positions in the padded row.
    pub tokens: Range<usize>,
    /// Bytes of the text.
    pub bytes: Range<usize>,
}

/// A row of a batch, padded and cut as the model sees it.
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
            // Without a post-processor the only text is said to reach over the padding, too.
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

    /// All positions, padding and special tokens too.
    pub fn tokens(&self) -> &[TextToken] {
        &self.tokens
    }

    /// Positions whose bytes overlap `bytes` of a text; `None` when none does, e.g. because the text was cut there.
    pub fn tokens_of(&self, part: TextPart, bytes: Range<usize>) -> Option<Range<usize>> {
        let overlaps = |token: &TextToken| {
            token.part == Some(part) && token.bytes.start < bytes.end && bytes.start < token.bytes.end
        };
        // An empty range within a token would overlap it by the formula.
        let [first, last] = match bytes.is_empty() {
            true => return None,
            false => [self.tokens.iter().position(overlaps)?, self.tokens.iter().rposition(overlaps)?],
        };
        Some(first..last + 1)
    }

    /// Words of a text that have a token, in order.
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

    /// Positions of word `index` of a text; `None` when it was cut off or there are not so many.
    pub fn tokens_of_word(&self, part: TextPart, index: usize) -> Option<Range<usize>> {
        self.words(part).into_iter().find(|word| word.index == index).map(|word| word.tokens)
    }
}

/// A batch for a model, and what its positions mean.
#[derive(Clone, Debug)]
pub struct TextBatch {
    /// Ids, attention mask and, where the model reads them, token types.
    pub inputs: ModelInputs,
    rows: Vec<EncodedText>,
}

impl TextBatch {
    pub(super) fn new(inputs: ModelInputs, rows: Vec<EncodedText>) -> Self {
        Self { inputs, rows }
    }

    /// The rows, one a text or pair.
    pub fn rows(&self) -> &[EncodedText] {
        &self.rows
    }

    /// [`EncodedText::tokens_of`] in the first or only text of a row; `None` without such a row, too.
    pub fn tokens_of(&self, row: usize, bytes: Range<usize>) -> Option<Range<usize>> {
        self.rows.get(row)?.tokens_of(TextPart::First, bytes)
    }

    /// [`EncodedText::words`] of the first or only text of a row; none without such a row.
    pub fn words(&self, row: usize) -> Vec<Word> {
        self.rows.get(row).map(|row| row.words(TextPart::First)).unwrap_or_default()
    }

    /// [`EncodedText::tokens_of_word`] in the first or only text of a row; `None` without such a row, too.
    pub fn tokens_of_word(&self, row: usize, index: usize) -> Option<Range<usize>> {
        self.rows.get(row)?.tokens_of_word(TextPart::First, index)
    }
}
