//! How much two circuits have in common, and how much chance would give them.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::error::{CircuitError, Misfit};
use crate::hard_mask::{HardMask, HardMasks};

/// Sizes of two circuits among the same parameters, and of what they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Overlap {
    /// Parameters (weights and biases) that could be in them.
    pub entries: u64,
    /// Parameters in the first circuit.
    pub first: u64,
    /// Parameters in the second.
    pub second: u64,
    /// Parameters in both.
    pub both: u64,
}

impl Overlap {
    /// Counts two masks of one parameter.
    ///
    /// # Errors
    /// [`CircuitError::CircuitsDiffer`] when they are over parameters of different shapes.
    pub fn between(name: &str, first: &HardMask, second: &HardMask) -> Result<Self, CircuitError> {
        check_shapes([(name, first, second)])?;
        Ok(Self::count(&first.entries(), &second.entries()))
    }

    fn count(first: &[bool], second: &[bool]) -> Self {
        let ones = |mask: &[bool]| mask.iter().map(|kept| u64::from(*kept)).sum();
        let both = first.iter().zip(second).map(|(first, second)| u64::from(*first && *second)).sum();
        Self { entries: first.len() as u64, first: ones(first), second: ones(second), both }
    }

    /// Parameters in either.
    pub fn union(&self) -> u64 {
        self.first + self.second - self.both
    }

    /// Intersection over union, from 0 to 1. Two empty circuits are equal, and so have 1.
    pub fn jaccard(&self) -> f64 {
        if self.union() == 0 { 1.0 } else { self.both as f64 / self.union() as f64 }
    }

    /// Size of the intersection that two random sets of these sizes among `entries` have on average,
    /// |A| · |B| / entries (the mean of a hypergeometric distribution). Where circuits choose whole neurons, the mean is
    /// the same and the spread around it is larger.
    pub fn expected(&self) -> f64 {
        if self.entries == 0 { 0.0 } else { self.first as f64 * self.second as f64 / self.entries as f64 }
    }

    /// Intersection over what chance gives: above 1, the circuits seek each other; below 1, they avoid each other.
    /// `None` when one of them is empty, so that chance gives nothing.
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

/// Two circuits compared over the parameters that both of them mask.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Each parameter, by `<layer>.weight` or `<layer>.bias`, in the order of names.
    pub tensors: Vec<(String, Overlap)>,
    /// The same added up over groups, in the order in which they first appear.
    pub groups: Vec<(String, Overlap)>,
    /// All of them added up. Chance is that of sets that may lie anywhere in the sum.
    pub total: Overlap,
    /// Parameters that only the first circuit masks.
    pub first_only: Vec<String>,
    /// Parameters that only the second circuit masks.
    pub second_only: Vec<String>,
}

/// Compares two circuits of one model; `group` says which group (say, which block) a parameter counts for.
///
/// Only parameters that both circuits mask are compared: to a circuit that could not choose, its choice says nothing.
///
/// # Errors
/// [`CircuitError::CircuitsDiffer`] with all parameters that have different shapes.
pub fn compare(
    first: &HardMasks,
    second: &HardMasks,
    group: impl Fn(&str) -> String,
) -> Result<Comparison, CircuitError> {
    let shared = || first.iter().filter_map(|(name, mask)| Some((name.as_str(), mask, second.get(name)?)));
    check_shapes(shared())?;
    let mut comparison =
        Comparison { first_only: alone(first, second), second_only: alone(second, first), ..Comparison::default() };
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

fn alone(masks: &HardMasks, others: &HardMasks) -> Vec<String> {
    masks.keys().filter(|name| !others.contains_key(*name)).cloned().collect()
}

fn check_shapes<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a HardMask, &'a HardMask)>,
) -> Result<(), CircuitError> {
    let differences: Vec<Misfit> = pairs
        .into_iter()
        .filter(|(_, first, second)| first.shape() != second.shape())
        .map(|(name, first, second)| Misfit {
            name: name.to_string(),
            expected: first.shape().to_vec(),
            found: second.shape().to_vec(),
        })
        .collect();
    if differences.is_empty() { Ok(()) } else { Err(CircuitError::CircuitsDiffer { misfits: differences }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(shape: &[usize], kept: &[bool]) -> HardMask {
        HardMask::new("w", shape, shape, kept.to_vec()).unwrap()
    }

    fn bits(text: &str) -> Vec<bool> {
        text.chars().map(|sign| sign == '1').collect()
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
    fn empty_circuits_are_equal_and_chance_gives_them_nothing() {
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
            matches!(&error, CircuitError::CircuitsDiffer { misfits: differences } if differences.len() == 2 && differences[1].name == "c")
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
