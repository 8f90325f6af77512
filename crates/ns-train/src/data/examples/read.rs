//! Which tokens of a row are read.

use std::ops::Range;

use super::labels::LabelCells;
use super::tables::Tables;
use super::token_row::TokenRow;
use crate::error::TrainError;
use crate::recipe::{Named, Read, ReadAt, Token};

/// The rule of `data.read`, with the columns that it needs.
pub(super) struct Reader<'a> {
    tables: &'a Tables,
    rule: Rule<'a>,
    token: Token,
    special: bool,
}

enum Rule<'a> {
    Last,
    First,
    All,
    /// The last token of each labelled word.
    Labelled(&'a LabelCells<'a>),
    Index(i64),
    Position(Vec<&'a str>),
    Span(Vec<&'a str>, Vec<&'a str>),
    Word(Vec<&'a str>),
}

/// What is read from a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Numbers of the tokens in the row, in order, added tokens counted.
    pub(super) positions: Vec<usize>,
    /// Byte ranges of the words that are read: one for all positions, or one for each; none without words.
    pub(super) words: Vec<Range<usize>>,
}

impl<'a> Reader<'a> {
    /// Reads the columns of a rule. `has_text` says whether rows have texts, which spans and words need.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a span or word in rows without text, and [`TrainError::DataColumn`] for a
    /// missing column.
    pub(super) fn new(
        read: &Read,
        tables: &'a Tables,
        labels: &'a LabelCells<'a>,
        has_text: bool,
    ) -> Result<Self, TrainError> {
        let (rule, token, special) = match read {
            Read::Named(Named::Last) => (Rule::Last, Token::default(), false),
            Read::Named(Named::First) => (Rule::First, Token::default(), false),
            Read::Named(Named::All) if labels.are_lists() => (Rule::Labelled(labels), Token::default(), false),
            Read::Named(Named::All) => (Rule::All, Token::default(), false),
            Read::At(at) => (at_rule(at, tables, has_text)?, at.token.unwrap_or_default(), at.special),
        };
        Ok(Self { tables, rule, token, special })
    }

    /// Whether the vectors of a row are averaged.
    pub(super) fn averages(&self) -> bool {
        self.token == Token::Mean
    }

    /// Which tokens of a row are read.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] with the row if it does not have the tokens.
    pub(super) fn read(&self, row: usize, tokens: &TokenRow<'_>) -> Result<Reading, TrainError> {
        let counted = if self.special { 0..tokens.len() } else { tokens.own.clone() };
        if counted.is_empty() {
            return Err(self.invalid(row, "the text", "without tokens", "a token of it is read"));
        }
        let at = |position: usize| Ok(Reading { positions: vec![position], words: Vec::new() });
        match &self.rule {
            Rule::Last => at(counted.end - 1),
            Rule::First => at(counted.start),
            Rule::All => Ok(Reading { positions: tokens.all.clone().collect(), words: Vec::new() }),
            Rule::Index(index) => at(self.indexed(row, "data.read.index", *index, &counted)?),
            Rule::Position(column) => {
                let cell = column[row].trim();
                let expected = "it must be a number of a token, counted from 0";
                let position =
                    cell.parse::<u32>().map_err(|_| self.invalid(row, "the position", quoted(cell), expected))?;
                at(self.indexed(row, "the position", position.into(), &counted)?)
            }
            Rule::Span(starts, ends) => {
                let bytes = self.span(row, starts[row].trim(), ends[row].trim(), tokens.text)?;
                self.tokens_of(row, "the span", bytes, tokens)
            }
            Rule::Word(column) => self.tokens_of(row, "the word", self.word(row, column[row], tokens.text)?, tokens),
            Rule::Labelled(labels) => self.labelled(row, labels.of(row).len(), labels, tokens),
        }
    }

    fn indexed(&self, row: usize, what: &'static str, index: i64, counted: &Range<usize>) -> Result<usize, TrainError> {
        let n = counted.len() as i64;
        let from_start = if index < 0 { n + index } else { index };
        if (0..n).contains(&from_start) {
            return Ok(counted.start + from_start as usize);
        }
        let counted = if self.special { "" } else { ", added tokens not counted" };
        Err(self.invalid(row, what, index.to_string(), format!("the row has {n} tokens{counted}")))
    }

    /// Converts a span in code points to bytes.
    fn span(&self, row: usize, start: &str, end: &str, text: &str) -> Result<Range<usize>, TrainError> {
        let invalid = |expected: String| self.invalid(row, "the span", format!("{start}..{end}"), expected);
        let parsed = start.parse::<usize>().ok().zip(end.parse::<usize>().ok());
        let (first, last) = parsed.ok_or_else(|| {
            invalid(
                "start and end must be numbers of characters (code points), counted from 0; the end is exclusive"
                    .into(),
            )
        })?;
        if first >= last {
            return Err(invalid("it is empty; the end is exclusive and must be after the start".into()));
        }
        let byte = |character: usize| {
            text.char_indices().map(|(byte, _)| byte).chain(std::iter::once(text.len())).nth(character)
        };
        byte(first).zip(byte(last)).map(|(start, end)| start..end).ok_or_else(|| {
            invalid(format!("it is outside the text, which has {} characters (code points)", text.chars().count()))
        })
    }

    /// Finds a word in a text, where it must occur once.
    fn word(&self, row: usize, word: &str, text: &str) -> Result<Range<usize>, TrainError> {
        let word = word.trim();
        let invalid = |expected: String| self.invalid(row, "the word", quoted(word), expected);
        if word.is_empty() {
            return Err(invalid("it is empty; it must be a word of the text".into()));
        }
        let places: Vec<usize> = text
            .char_indices()
            .map(|(byte, _)| byte)
            .filter(|start| text[*start..].starts_with(word) && is_whole(text, *start..*start + word.len()))
            .collect();
        match places[..] {
            [start] => Ok(start..start + word.len()),
            [] => Err(invalid(format!("the text `{text}` does not contain it as a whole word"))),
            [first, second, ..] => {
                let character = |byte: usize| text[..byte].chars().count();
                let (first, second) = (character(first), character(second));
                let times = places.len();
                Err(invalid(format!(
                    "it occurs {times} times in the text, at characters {first} and {second}; use a span"
                )))
            }
        }
    }

    /// The tokens of a span or word, as `data.read.token` says.
    fn tokens_of(
        &self,
        row: usize,
        what: &'static str,
        bytes: Range<usize>,
        tokens: &TokenRow<'_>,
    ) -> Result<Reading, TrainError> {
        let covered = tokens
            .covered(bytes.clone())
            .map_err(|reason| self.invalid(row, what, quoted(&tokens.text[bytes.clone()]), reason))?;
        let positions = match self.token {
            Token::First => vec![covered.start],
            Token::Last => vec![covered.end - 1],
            Token::All | Token::Mean => covered.collect(),
        };
        Ok(Reading { positions, words: vec![bytes] })
    }

    /// The last token of each labelled word. Rows without text have a label for each token.
    fn labelled(
        &self,
        row: usize,
        n_labels: usize,
        labels: &LabelCells<'_>,
        tokens: &TokenRow<'_>,
    ) -> Result<Reading, TrainError> {
        let words: Vec<Range<usize>> = words_of(tokens.text).collect();
        let (n_words, kind) = if tokens.has_text() { (words.len(), "words") } else { (tokens.all.len(), "positions") };
        if n_labels != n_words {
            let found = format!("{n_labels} labels long");
            return Err(self.invalid(row, "the list of labels", found, format!("the row has {n_words} {kind}")));
        }
        let labelled = labels.of(row).iter().enumerate().filter(|(_, label)| label.is_some()).map(|(index, _)| index);
        let mut reading = Reading::default();
        for index in labelled {
            if !tokens.has_text() {
                reading.positions.push(tokens.all.start + index);
                continue;
            }
            let word = &tokens.text[words[index].clone()];
            let invalid = |reason: String| self.invalid(row, "the word", quoted(word), reason);
            let last = tokens.covered(words[index].clone()).map_err(invalid)?.end - 1;
            if reading.positions.last() == Some(&last) {
                return Err(invalid("its last token is also that of the word before".into()));
            }
            reading.positions.push(last);
            reading.words.push(words[index].clone());
        }
        Ok(reading)
    }

    fn invalid(
        &self,
        row: usize,
        what: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> TrainError {
        self.tables.invalid(row, what, found, expected)
    }
}

fn at_rule<'a>(at: &ReadAt, tables: &'a Tables, has_text: bool) -> Result<Rule<'a>, TrainError> {
    let column = |name: &str| tables.column(name);
    TrainError::check(
        has_text || (at.span.is_none() && at.word.is_none()),
        "data.read",
        "a span or a word",
        "the rows have no `text`; use \"last\", \"first\", \"all\", { index = 0 } or { position = COLUMN }",
    )?;
    match (&at.index, &at.position, &at.span, &at.word) {
        (Some(index), ..) => Ok(Rule::Index(*index)),
        (None, Some(position), ..) => Ok(Rule::Position(column(position)?)),
        (None, None, Some([start, end]), _) => Ok(Rule::Span(column(start)?, column(end)?)),
        (None, None, None, Some(word)) => Ok(Rule::Word(column(word)?)),
        _ => {
            let expected = "it needs one of `index`, `span`, `word` and `position`";
            Err(TrainError::setting("data.read", "an empty table", expected))
        }
    }
}

/// Byte ranges of the words of a text, split at white space.
fn words_of(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    text.split_whitespace().map(move |word| {
        // Only white space is before the next word, so its first occurrence is its place.
        let start = end + text[end..].find(word).unwrap_or_default();
        end = start + word.len();
        start..end
    })
}

/// Whether no letter or digit continues a part of a text.
fn is_whole(text: &str, bytes: Range<usize>) -> bool {
    let before = text[..bytes.start].chars().next_back();
    let after = text[bytes.end..].chars().next();
    ![before, after].into_iter().flatten().any(char::is_alphanumeric)
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}
