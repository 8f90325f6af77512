//! Random sentences whose alternatives are equally likely.
//!
//! A uniform sample of all sentences is mostly made of the alternatives with the most sentences: of `["", "{ADV}"]` with
//! four adverbs, four sentences of five have one. Here each alternative of a phrase is as likely as the others.

use ns_circuit::rng::below;
use rand::Rng;

use super::count::{Counted, Phrase, phrase_of, with};

/// A way to expand a text: the features that it uses, and its number among those that use them.
pub(super) type Way = (u64, u128);

impl Counted {
    /// A random way, with equally likely alternatives, lemmas and values.
    pub(super) fn fair(&self, phrases: &[Phrase], rng: &mut impl Rng) -> Way {
        let digits = self.choices.iter().map(|choices| (below(rng, *choices) as u128, *choices as u128));
        let own_index = digits.collect::<Vec<_>>().into_iter().fold(0, |index, (digit, n)| index * n + digit);
        let pieces: Vec<usize> = self.text.pieces.iter().filter_map(phrase_of).collect();
        let ways: Vec<Way> = pieces.iter().map(|phrase| phrases[*phrase].fair(phrases, rng)).collect();
        let target = ways.iter().fold(self.own, |used, (features, _)| used | features);
        let n_rest = with(&self.rest[0], self.own, target);
        (target, own_index * n_rest + self.rank(target, &pieces, &ways, phrases))
    }

    /// The number of the ways of all phrases together: what [`Counted::expand`] takes apart again.
    fn rank(&self, target: u64, pieces: &[usize], ways: &[Way], phrases: &[Phrase]) -> u128 {
        let (mut used, mut rank) = (self.own, 0);
        for ((phrase, (features, index)), rest) in pieces.iter().zip(ways).zip(&self.rest[1..]) {
            let before = phrases[*phrase].ways.iter().take_while(|(other, _)| *other != features);
            rank += before.map(|(other, ways)| ways * with(rest, used | other, target)).sum::<u128>();
            used |= features;
            rank += index * with(rest, used, target);
        }
        rank
    }
}

impl Phrase {
    fn fair(&self, phrases: &[Phrase], rng: &mut impl Rng) -> Way {
        let alternative = below(rng, self.alternatives.len());
        let (used, index) = self.alternatives[alternative].fair(phrases, rng);
        let before = self.alternatives[..alternative].iter().filter_map(|text| text.ways.get(&used));
        (used, before.sum::<u128>() + index)
    }
}
