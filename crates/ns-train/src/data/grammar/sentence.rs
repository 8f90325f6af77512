//! A sentence before it is written, and its texts.

use super::template::{Choice, Piece, Slot, Text};
use super::words::WordClass;

/// A sentence: the value of each feature, and its words.
#[derive(Clone, Debug, Default)]
pub(super) struct Sentence<'g> {
    /// Index of the value of each feature; `None` for a feature that does not occur.
    pub(super) values: Vec<Option<usize>>,
    pub(super) tokens: Vec<Token<'g>>,
    /// Values that are of one text alone.
    pub(super) locals: Vec<usize>,
}

/// A part of a sentence.
#[derive(Clone, Debug)]
pub(super) enum Token<'g> {
    Literal(&'g str),
    Word {
        slot: &'g Slot,
        lemma: usize,
        /// Where the values of its text start in [`Sentence::locals`].
        locals: usize,
    },
}

/// A change of a sentence: features that get their other value, everywhere or in some classes.
pub(super) type Change = Vec<(usize, Option<Vec<usize>>)>;

impl Sentence<'_> {
    /// The text, with changed features.
    pub(super) fn text(&self, classes: &[WordClass], change: &Change) -> String {
        let mut text = String::new();
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => text.push_str(literal),
                Token::Word { slot, lemma, locals } => {
                    let form = self.form(slot, *locals, change);
                    text.push_str(classes[slot.class].word(form, *lemma));
                }
            }
        }
        collapsed(&text).trim_start().to_owned()
    }

    /// The text of a column, whose slots take the lemma of the first word of their class.
    pub(super) fn column(&self, column: &Text, sentence: &str, classes: &[WordClass]) -> String {
        let mut text = String::new();
        for piece in &column.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Word(slot) => {
                    let form = self.form(slot, 0, &Change::new());
                    text.push_str(classes[slot.class].word(form, self.lemma(slot.class)));
                }
                Piece::Sentence => text.push_str(sentence),
                // A column has none.
                Piece::Phrase(_) => {}
            }
        }
        collapsed(&text)
    }

    /// The lemma of the first word of a class; without one the only lemma of the class.
    fn lemma(&self, class: usize) -> usize {
        let lemma = self.tokens.iter().find_map(|token| match token {
            Token::Word { slot, lemma, .. } if slot.class == class => Some(*lemma),
            _ => None,
        });
        lemma.unwrap_or_default()
    }

    fn form(&self, slot: &Slot, locals: usize, change: &Change) -> usize {
        let changes = |feature: usize| {
            let within = |classes: &Option<Vec<usize>>| classes.as_ref().is_none_or(|in_| in_.contains(&slot.class));
            change.iter().any(|(changed, classes)| *changed == feature && within(classes))
        };
        let value = |feature: usize, other: bool| {
            let value = self.values.get(feature).copied().flatten().unwrap_or_default();
            // Only features with two values change.
            if other != changes(feature) { 1_usize.saturating_sub(value) } else { value }
        };
        let index = slot.values.iter().zip(&slot.n_values).fold(0, |index, (choice, n)| {
            let value = match choice {
                Choice::Feature(feature) => value(*feature, false),
                Choice::Other(feature) => value(*feature, true),
                Choice::Local(local) => self.locals.get(locals + local).copied().unwrap_or_default(),
            };
            index * n + value
        });
        slot.forms.get(index).copied().unwrap_or_default()
    }
}

/// A text with single spaces, and none at its end.
fn collapsed(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 || text.starts_with(char::is_whitespace) {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}
