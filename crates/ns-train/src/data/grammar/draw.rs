//! The sentences of a draw: some templates, with fixed values of features, and their numbers.

use std::collections::HashSet;

use ns_circuit::rng;
use rand::Rng;

use super::model::Model;
use super::sample::SparseShuffle;

/// A sentence: the index of its template, and its number in the template.
pub(super) type Derivation = (usize, u128);

/// The sentences of some templates in which some features have fixed values. They are numbered without gaps; spaces that
/// differ only in the values have the same sentences, but for the values, under the same numbers.
pub(super) struct Space<'g> {
    model: &'g Model,
    templates: Vec<usize>,
    /// Features and the indices of their values.
    fixed: Vec<(usize, usize)>,
    /// End of each block of sentences: the template, the index of its part, and the first number after it.
    blocks: Vec<(usize, usize, u128)>,
}

impl<'g> Space<'g> {
    /// The space; `None` if it has 2^128 sentences or more.
    pub(super) fn new(model: &'g Model, groups: &[usize], fixed: Vec<(usize, usize)>) -> Option<Self> {
        Self::of_templates(model, templates(model, groups), fixed)
    }

    /// Like [`Space::new`], for templates by their index.
    fn of_templates(model: &'g Model, templates: Vec<usize>, fixed: Vec<(usize, usize)>) -> Option<Self> {
        let (mut blocks, mut end) = (Vec::new(), 0_u128);
        for template in &templates {
            for (index, part) in model.templates[*template].parts.iter().enumerate() {
                let used = |feature: usize| part.features.iter().any(|(used, _)| *used == feature);
                if !fixed.iter().all(|(feature, _)| used(*feature)) {
                    continue;
                }
                let free = part.features.iter().filter(|(feature, _)| fixed.iter().all(|(fixed, _)| fixed != feature));
                let combinations: u128 = free.map(|(_, n_values)| *n_values as u128).product();
                end = end.checked_add(combinations * part.ways)?;
                blocks.push((*template, index, end));
            }
        }
        Some(Self { model, templates, fixed, blocks })
    }

    /// Number of sentences.
    pub(super) fn len(&self) -> u128 {
        self.blocks.last().map_or(0, |(_, _, end)| *end)
    }

    /// The sentence of a number.
    pub(super) fn derivation(&self, number: u128) -> Derivation {
        let block = self.blocks.partition_point(|(_, _, end)| *end <= number);
        let start = block.checked_sub(1).map_or(0, |before| self.blocks[before].2);
        let Some((template, part, _)) = self.blocks.get(block) else { return (0, 0) };
        let part = &self.model.templates[*template].parts[*part];
        let (mut rest, way) = ((number - start) / part.ways, (number - start) % part.ways);
        let (mut combination, mut weight) = (0, 1);
        for (feature, n_values) in part.features.iter().rev() {
            let n_values = *n_values as u128;
            let value = match self.fixed.iter().find(|(fixed, _)| fixed == feature) {
                Some((_, value)) => *value as u128,
                None => {
                    let value = rest % n_values;
                    rest /= n_values;
                    value
                }
            };
            combination += value * weight;
            weight *= n_values;
        }
        (*template, part.start + combination * part.ways + way)
    }

    /// Whether a sentence is in the space.
    pub(super) fn contains(&self, (template, number): Derivation) -> bool {
        let Some(part) = self.model.templates[template].part(number) else { return false };
        let mut combination = (number - part.start) / part.ways;
        let mut matching = 0;
        for (feature, n_values) in part.features.iter().rev() {
            let value = (combination % *n_values as u128) as usize;
            combination /= *n_values as u128;
            matching += usize::from(self.fixed.contains(&(*feature, value)));
        }
        matching == self.fixed.len() && self.templates.contains(&template)
    }

    /// Number of sentences that are not taken.
    pub(super) fn left(&self, taken: &HashSet<Derivation>) -> u128 {
        self.len() - taken.iter().filter(|derivation| self.contains(**derivation)).count() as u128
    }

    /// The first `count` sentences that are not taken, in a random order.
    pub(super) fn sample(&self, count: usize, taken: &HashSet<Derivation>, rng: impl Rng) -> Vec<Derivation> {
        let numbers = SparseShuffle::new(self.len(), rng);
        let derivations = numbers.map(|number| self.derivation(number));
        derivations.filter(|derivation| !taken.contains(derivation)).take(count).collect()
    }

    /// Like [`Space::sample`], with the same number from each template and equally likely alternatives of each phrase. What
    /// a template lacks, the others give.
    pub(super) fn balanced(&self, count: usize, taken: &HashSet<Derivation>, mut rng: impl Rng) -> Vec<Derivation> {
        let of_template = |template: &usize| Self::of_templates(self.model, vec![*template], self.fixed.clone());
        let spaces: Vec<Self> = self.templates.iter().filter_map(of_template).collect();
        let left: Vec<u128> = spaces.iter().map(|space| space.left(taken)).collect();
        let mut order: Vec<usize> = (0..spaces.len()).collect();
        order.sort_by_key(|space| left[*space]);
        let (mut derivations, mut missing) = (Vec::new(), count);
        for (done, space) in order.iter().enumerate() {
            let share = missing.div_ceil(order.len() - done).min(usize::try_from(left[*space]).unwrap_or(usize::MAX));
            derivations.extend(spaces[*space].fair(share, taken, &mut rng));
            missing -= share;
        }
        rng::shuffle(&mut rng, &mut derivations);
        derivations
    }

    /// Sentences with equally likely alternatives, without repetition. When most of these are drawn, the others are
    /// uniform.
    fn fair(&self, count: usize, taken: &HashSet<Derivation>, rng: &mut impl Rng) -> Vec<Derivation> {
        const TRIES: usize = 20;
        let (mut drawn, mut all) = (Vec::new(), taken.clone());
        for _ in 0..TRIES * count {
            if drawn.len() == count {
                break;
            }
            let template = self.templates[rng::below(rng, self.templates.len())];
            if let Some(derivation) = self.fair_derivation(template, rng)
                && all.insert(derivation)
            {
                drawn.push(derivation);
            }
        }
        let missing = count - drawn.len();
        drawn.extend(self.sample(missing, &all, rng));
        drawn
    }

    /// A sentence of a template with equally likely alternatives; `None` if it does not have the fixed features.
    fn fair_derivation(&self, template: usize, rng: &mut impl Rng) -> Option<Derivation> {
        let text = &self.model.templates[template];
        let (used, way) = text.text.fair(&self.model.phrases, rng);
        let part = text.parts.iter().find(|part| part.used == used)?;
        let mut combination = 0;
        for (feature, n_values) in &part.features {
            let fixed = self.fixed.iter().find(|(fixed, _)| fixed == feature);
            let value = fixed.map_or_else(|| rng::below(rng, *n_values), |(_, value)| *value);
            combination = combination * *n_values as u128 + value as u128;
        }
        let derivation = (template, part.start + combination * part.ways + way);
        self.contains(derivation).then_some(derivation)
    }

    /// All sentences that are not taken, in order.
    pub(super) fn all(&self, taken: &HashSet<Derivation>) -> Vec<Derivation> {
        let mut derivations = Vec::new();
        let mut number = 0;
        while number < self.len() {
            let derivation = self.derivation(number);
            if !taken.contains(&derivation) {
                derivations.push(derivation);
            }
            number += 1;
        }
        derivations
    }
}

/// The templates of some groups.
fn templates(model: &Model, groups: &[usize]) -> Vec<usize> {
    (0..model.templates.len()).filter(|template| groups.contains(&model.templates[*template].group)).collect()
}
