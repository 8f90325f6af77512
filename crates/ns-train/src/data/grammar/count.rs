//! How many ways there are to expand a text, and the way of each number.
//!
//! Ways are counted by the set of features that they use, because only these features vary. A set of features is a
//! number whose bits are the features.

use std::collections::BTreeMap;

use super::sentence::{Sentence, Token};
use super::template::{Choice, Piece, Slot, Text};
use super::words::{Feature, WordClass};

/// The number of ways for each set of features, without empty ones.
pub(super) type Ways = BTreeMap<u64, u128>;

/// A text with its ways.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) text: Text,
    /// Features of its own slots.
    pub(super) own: u64,
    /// Number of values of each value of its own, and of lemmas of each slot.
    pub(super) choices: Vec<usize>,
    /// For each of its phrases, the ways of this phrase and those after it; at last the way of none.
    pub(super) rest: Vec<Ways>,
    /// The ways of the whole text, but for the values of features.
    pub(super) ways: Ways,
}

/// Alternatives.
#[derive(Clone, Debug)]
pub(super) struct Phrase {
    pub(super) alternatives: Vec<Counted>,
    pub(super) ways: Ways,
}

/// 2^128 ways or more.
#[derive(Debug)]
pub(super) struct TooMany;

impl Counted {
    /// Counts the ways of a text. `phrases` holds the ways of each phrase that the text uses.
    pub(super) fn new(
        text: Text,
        features: &[Feature],
        classes: &[WordClass],
        phrases: &BTreeMap<usize, Ways>,
    ) -> Result<Self, TooMany> {
        let own = slots(&text).flat_map(|slot| &slot.values).fold(0, |own, choice| match choice {
            Choice::Feature(feature) | Choice::Other(feature) => own | 1 << feature,
            Choice::Local(_) => own,
        });
        let locals = text.locals.iter().map(|feature| features[*feature].values.len());
        let choices: Vec<usize> = locals.chain(slots(&text).map(|slot| classes[slot.class].lemmas())).collect();
        let count = choices.iter().try_fold(1_u128, |count, choices| count.checked_mul(*choices as u128));
        let own_ways = Ways::from([(own, count.ok_or(TooMany)?)]);
        let mut rest = vec![Ways::from([(0, 1)])];
        for phrase in text.pieces.iter().rev().filter_map(phrase_of) {
            let after = rest.last().cloned().unwrap_or_default();
            rest.push(both(phrases.get(&phrase).unwrap_or(&Ways::new()), &after)?);
        }
        rest.reverse();
        let ways = both(&own_ways, &rest[0])?;
        Ok(Self { text, own, choices, rest, ways })
    }

    /// Adds the way `index` among those that use the features `target` to a sentence.
    pub(super) fn expand<'g>(&'g self, target: u64, index: u128, phrases: &'g [Phrase], sentence: &mut Sentence<'g>) {
        let n_rest = with(&self.rest[0], self.own, target).max(1);
        let (mut own_index, rest_index) = (index / n_rest, index % n_rest);
        let mut digits = vec![0; self.choices.len()];
        for (digit, choices) in digits.iter_mut().zip(&self.choices).rev() {
            *digit = (own_index % *choices as u128) as usize;
            own_index /= *choices as u128;
        }
        let (locals, lemmas) = digits.split_at(self.text.locals.len());
        let first = sentence.locals.len();
        sentence.locals.extend(locals);
        let mut lemmas = lemmas.iter().copied();
        let mut parts = self.parts(target, rest_index, phrases).into_iter();
        for piece in &self.text.pieces {
            match piece {
                Piece::Literal(text) => sentence.tokens.push(Token::Literal(text)),
                Piece::Word(slot) => {
                    let lemma = lemmas.next().unwrap_or_default();
                    sentence.tokens.push(Token::Word { slot, lemma, locals: first });
                }
                Piece::Phrase(phrase) => {
                    let (used, index) = parts.next().unwrap_or_default();
                    phrases[*phrase].expand(used, index, phrases, sentence);
                }
                // Only columns have it, and they are not expanded.
                Piece::Sentence => {}
            }
        }
    }

    /// The features and the number of the way of each phrase.
    fn parts(&self, target: u64, index: u128, phrases: &[Phrase]) -> Vec<(u64, u128)> {
        let (mut used, mut index, mut parts) = (self.own, index, Vec::new());
        for (phrase, rest) in self.text.pieces.iter().filter_map(phrase_of).zip(&self.rest[1..]) {
            for (features, ways) in &phrases[phrase].ways {
                let n_rest = with(rest, used | features, target);
                if index < ways * n_rest {
                    parts.push((*features, index / n_rest));
                    (used, index) = (used | features, index % n_rest);
                    break;
                }
                index -= ways * n_rest;
            }
        }
        parts
    }
}

impl Phrase {
    fn expand<'g>(&'g self, target: u64, index: u128, phrases: &'g [Phrase], sentence: &mut Sentence<'g>) {
        let mut index = index;
        for alternative in &self.alternatives {
            let ways = alternative.ways.get(&target).copied().unwrap_or_default();
            if index < ways {
                return alternative.expand(target, index, phrases, sentence);
            }
            index -= ways;
        }
    }
}

/// The slots of a text.
pub(super) fn slots(text: &Text) -> impl Iterator<Item = &Slot> {
    text.pieces.iter().filter_map(|piece| match piece {
        Piece::Word(slot) => Some(slot),
        _ => None,
    })
}

/// The phrase that a piece names.
pub(super) fn phrase_of(piece: &Piece) -> Option<usize> {
    match piece {
        Piece::Phrase(phrase) => Some(*phrase),
        _ => None,
    }
}

/// The ways of two parts.
fn both(first: &Ways, second: &Ways) -> Result<Ways, TooMany> {
    let mut ways = Ways::new();
    for (left, n_left) in first {
        for (right, n_right) in second {
            add(&mut ways, left | right, n_left.checked_mul(*n_right).ok_or(TooMany)?)?;
        }
    }
    Ok(ways)
}

/// Adds ways.
pub(super) fn add(ways: &mut Ways, features: u64, count: u128) -> Result<(), TooMany> {
    let entry = ways.entry(features).or_default();
    *entry = entry.checked_add(count).ok_or(TooMany)?;
    Ok(())
}

/// The number of ways that use, with the features `used`, exactly the features `target`.
pub(super) fn with(ways: &Ways, used: u64, target: u64) -> u128 {
    ways.iter().filter(|(features, _)| *features | used == target).map(|(_, count)| count).sum()
}
