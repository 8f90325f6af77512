//! The overlap of two circuits, and the overlap expected by chance.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::error::{CircuitError, Misfit};
use crate::hard_mask::{HardMask, HardMasks};

/// The sizes of two circuits over the same parameters, and the size of their intersection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Overlap {
    /// Number of entries (weights and biases) that both circuits mask.
    pub entries: u64,
    /// Number of entries in the first circuit.
    pub first: u64,
    /// Number of entries in the second circuit.
    pub second: u64,
    /// Number of entries in both circuits.
    pub both: u64,
}

impl Overlap {
    /// Computes the overlap of two masks of one parameter. `name` identifies the parameter in errors.
    ///
    /// # Errors
    /// Returns [`CircuitError::CircuitsDiffer`] if the parameters have different shapes.
    pub fn between(name: &str, first: &HardMask, second: &HardMask) -> Result<Self, CircuitError> {
        check_shapes([(name, first, second)])?;
        Ok(Self::count(&first.entries(), &second.entries()))
    }

    fn count(first: &[bool], second: &[bool]) -> Self {
        let ones = |mask: &[bool]| mask.iter().map(|kept| u64::from(*kept)).sum();
        let both = first.iter().zip(second).map(|(first, second)| u64::from(*first && *second)).sum();
        Self { entries: first.len() as u64, first: ones(first), second: ones(second), both }
    }

    /// Number of entries in at least one of the circuits.
    pub fn union(&self) -> u64 {
        self.first + self.second - self.both
    }

    /// The Jaccard index: intersection over union, from 0 to 1. It is 1 for two empty circuits, which are equal.
    pub fn jaccard(&self) -> f64 {
        if self.union() == 0 { 1.0 } else { self.both as f64 / self.union() as f64 }
    }

    /// The intersection expected by chance: the mean intersection of two random sets of these sizes,
    /// `first · second / entries` (the mean of a hypergeometric distribution).
    ///
    /// The mean also holds for neuron masks, but their overlap has a larger variance.
    pub fn expected(&self) -> f64 {
        if self.entries == 0 { 0.0 } else { self.first as f64 * self.second as f64 / self.entries as f64 }
    }

    /// The intersection divided by the intersection [`expected`](Self::expected) by chance. Above 1, the circuits
    /// overlap more than random sets; below 1, less. Returns `None` if a circuit is empty.
    pub fn over_chance(&self) -> Option<f64> {
        let expected = self.expected();
        (expected > 0.0).then(|| self.both as f64 / expected)
    }
}

impl Add for Overlap {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            first: self.first + other.first,
            second: self.second + other.second,
            both: self.both + other.both,
        }
    }
}

impl Sum for Overlap {
    fn sum<I: Iterator<Item = Self>>(overlaps: I) -> Self {
        overlaps.fold(Self::default(), Add::add)
    }
}

/// A comparison of two circuits over the parameters that both of them mask.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Overlap per parameter, with the keys `<layer>.weight` and `<layer>.bias`, sorted by key.
    pub tensors: Vec<(String, Overlap)>,
    /// Sums over groups of parameters, in the order in which the groups first appear.
    pub groups: Vec<(String, Overlap)>,
    /// Sum over all parameters. Its [`expected`](Overlap::expected) overlap is for random sets over all entries, not
    /// for sets with fixed sizes per parameter.
    pub total: Overlap,
    /// Keys of the parameters that only the first circuit masks.
    pub first_only: Vec<String>,
    /// Keys of the parameters that only the second circuit masks.
    pub second_only: Vec<String>,
}

/// Compares two circuits of one model.
///
/// `group` returns the group of a parameter, for example the block that it belongs to. Only parameters that both
/// circuits mask are compared, because a parameter without a mask is neither in a circuit nor outside it.
///
/// # Errors
/// Returns [`CircuitError::CircuitsDiffer`] with all parameters whose shapes differ.
pub fn compare(
    first: &HardMasks,
    second: &HardMasks,
    group: impl Fn(&str) -> String,
) -> Result<Comparison, CircuitError> {
    let shared = || first.iter().filter_map(|(name, mask)| Some((name.as_str(), mask, second.get(name)?)));
    check_shapes(shared())?;
    let mut comparison =
        Comparison { first_only: only_in(first, second), second_only: only_in(second, first), ..Comparison::default() };
    for (name, first, second) in shared() {
        let overlap = Overlap::count(&first.entries(), &second.entries());
        let group = group(name);
        match comparison.groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, sum)) => *sum = *sum + overlap,
            None => comparison.groups.push((group, overlap)),
        }
        comparison.tensors.push((name.to_string(), overlap));
        comparison.total = comparison.total + overlap;
    }
    Ok(comparison)
}

/// The keys of `masks` that are not in `others`.
fn only_in(masks: &HardMasks, others: &HardMasks) -> Vec<String> {
    masks.keys().filter(|name| !others.contains_key(*name)).cloned().collect()
}

fn check_shapes<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a HardMask, &'a HardMask)>,
) -> Result<(), CircuitError> {
    let misfits: Vec<Misfit> = pairs
        .into_iter()
        .filter(|(_, first, second)| first.shape() != second.shape())
        .map(|(name, first, second)| Misfit {
            name: name.to_string(),
            expected: first.shape().to_vec(),
            found: second.shape().to_vec(),
        })
        .collect();
    if misfits.is_empty() { Ok(()) } else { Err(CircuitError::CircuitsDiffer { misfits }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(shape: &[usize], kept: &[bool]) -> HardMask {
        HardMask::new("w", shape, shape, kept.to_vec()).unwrap()
    }

    fn bits(text: &str) -> Vec<bool> {
        text.chars().map(|digit| digit == '1').collect()
    }

    fn masks<const N: usize>(masks: [(&str, &str); N]) -> HardMasks {
        masks.map(|(name, text)| (name.to_string(), mask(&[text.len()], &bits(text)))).into()
    }

    #[test]
    fn by_hand() {
        let overlap = Overlap::between("w", &mask(&[2, 3], &bits("111000")), &mask(&[2, 3], &bits("011110"))).unwrap();
        assert_eq!(overlap, Overlap { entries: 6, first: 3, second: 4, both: 2 });
        assert_eq!(overlap.union(), 5);
        assert_eq!(overlap.jaccard(), 0.4);
        assert_eq!(overlap.expected(), 2.0);
        assert_eq!(overlap.over_chance(), Some(1.0));
    }

    #[test]
    fn empty_circuits_are_equal_and_have_no_overlap_by_chance() {
        let empty = Overlap { entries: 5, ..Overlap::default() };
        assert_eq!((empty.jaccard(), empty.expected(), empty.over_chance()), (1.0, 0.0, None));
        let nothing = Overlap::default();
        assert_eq!((nothing.jaccard(), nothing.expected(), nothing.over_chance()), (1.0, 0.0, None));
        let one_empty = Overlap { first: 2, ..empty };
        assert_eq!((one_empty.jaccard(), one_empty.over_chance()), (0.0, None));
    }

    #[test]
    fn neurons_compare_with_weights() {
        let neurons = HardMask::new("w", &[2, 3], &[2, 1], vec![true, false]).unwrap();
        let overlap = Overlap::between("w", &neurons, &mask(&[2, 3], &bits("101100"))).unwrap();
        assert_eq!(overlap, Overlap { entries: 6, first: 3, second: 3, both: 2 });
    }

    #[test]
    fn groups_add_up_and_lonely_tensors_are_listed() {
        let first = masks([("0.a", "110"), ("0.b", "01"), ("1.a", "1111"), ("2.a", "1")]);
        let second = masks([("0.a", "011"), ("0.b", "11"), ("1.a", "0001"), ("3.a", "1")]);
        let found = compare(&first, &second, |name| name[..1].to_string()).unwrap();
        let layer_0 = Overlap { entries: 5, first: 3, second: 4, both: 2 };
        let layer_1 = Overlap { entries: 4, first: 4, second: 1, both: 1 };
        assert_eq!(found.groups, [("0".to_string(), layer_0), ("1".to_string(), layer_1)]);
        assert_eq!(found.total, layer_0 + layer_1);
        assert_eq!(found.tensors.len(), 3);
        assert_eq!((found.first_only, found.second_only), (vec!["2.a".to_string()], vec!["3.a".to_string()]));
    }

    #[test]
    fn circuits_of_other_models_name_every_shape_that_differs() {
        let first = masks([("a", "110"), ("b", "01"), ("c", "1")]);
        let second = masks([("a", "0111"), ("b", "11"), ("c", "11")]);
        let error = compare(&first, &second, str::to_string).unwrap_err();
        assert!(
            matches!(&error, CircuitError::CircuitsDiffer { misfits } if misfits.len() == 2 && misfits[1].name == "c")
        );
        let text = error.to_string();
        assert!(text.contains(r#""a" has shape [3] in the first and [4] in the second; "c" has"#), "{text}");
    }

    proptest! {
        #[test]
        fn sets_behave_like_sets(pairs in prop::collection::vec(any::<(bool, bool)>(), 0..200)) {
            let (first, second): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let overlap = Overlap::count(&first, &second);
            let swapped = Overlap::count(&second, &first);
            prop_assert_eq!(overlap.jaccard(), swapped.jaccard());
            prop_assert_eq!(overlap.expected(), swapped.expected());
            prop_assert!((0.0..=1.0).contains(&overlap.jaccard()));
            prop_assert!(overlap.both <= overlap.first.min(overlap.second));
            prop_assert_eq!(overlap.union() as usize, pairs.iter().filter(|(a, b)| *a || *b).count());
            prop_assert_eq!(Overlap::count(&first, &first).jaccard(), 1.0);
            if first.contains(&true) {
                let share = first.iter().filter(|kept| **kept).count() as f64 / first.len() as f64;
                let own = Overlap::count(&first, &first).over_chance().unwrap();
                prop_assert!((own * share - 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn a_sum_over_pieces_counts_the_whole(pairs in prop::collection::vec(any::<(bool, bool)>(), 1..200), cut in 0..200_usize) {
            let (first, second): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let cut = cut.min(first.len());
            let pieces = [
                Overlap::count(&first[..cut], &second[..cut]),
                Overlap::count(&first[cut..], &second[cut..]),
            ];
            prop_assert_eq!(pieces.into_iter().sum::<Overlap>(), Overlap::count(&first, &second));
        }
    }
}
