//! Which sets of units are scored, and what their scores say.

use std::collections::BTreeMap;

use super::CircuitTestSettings;
use super::parts::Part;
use super::results::{
    CircuitTests, EquivalenceTest, IndependenceTest, MinimalityTest, PartTest, RandomSetsTest, ScoreSummary,
    TestOutcome,
};
use super::units::{CircuitUnits, Kept};
use crate::error::TrainError;
use crate::statistics::{
    ReferenceTest, equivalence, independence, mean_squared_difference, minimality, partial_necessity,
    random_permutations, sufficiency,
};

/// Most examples for the test of independence.
const INDEPENDENCE_EXAMPLES: usize = 500;
/// Permutations for the test of independence, as in the paper.
const PERMUTATIONS: usize = 200;

/// A set of units that is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UnitSet {
    /// All units: the whole model.
    All,
    /// The circuit.
    Circuit,
    /// All units but the circuit.
    Complement,
    /// A random circuit of the same size.
    RandomCircuit(usize),
    /// All units but a random set of the size of the circuit.
    RandomRemoved(usize),
    /// The circuit without a part: family and index.
    Without(usize, usize),
    /// The circuit and a random set outside it: family and draw.
    Inflated(usize, usize),
}

/// The scores of sets of units, one for each example, in the same order for all sets.
pub(super) type Scores = BTreeMap<UnitSet, Vec<f64>>;

/// The tests of one circuit.
pub(super) struct Plan<'a> {
    pub(super) settings: &'a CircuitTestSettings,
    pub(super) units: &'a CircuitUnits,
    /// Families of parts: heads and MLPs, and layers. Each is corrected for the number of its parts.
    pub(super) families: [Vec<Part>; 2],
    pub(super) seed: u64,
}

impl Plan<'_> {
    /// The sets of units that the tests need.
    pub(super) fn sets(&self) -> Vec<UnitSet> {
        let draws = || 0..self.settings.random;
        let mut sets = vec![UnitSet::All, UnitSet::Circuit, UnitSet::Complement];
        sets.extend(draws().map(UnitSet::RandomCircuit).chain(draws().map(UnitSet::RandomRemoved)));
        for (family, parts) in self.families.iter().enumerate() {
            if self.obstacle(parts).is_none() {
                sets.extend((0..parts.len()).map(|part| UnitSet::Without(family, part)));
                sets.extend(draws().map(|draw| UnitSet::Inflated(family, draw)));
            }
        }
        sets
    }

    /// The units that are kept in a set.
    pub(super) fn kept(&self, set: UnitSet) -> Kept {
        let units = self.units;
        let part = |family: usize, part: usize| self.families.get(family).and_then(|parts| parts.get(part));
        let units_of = |found: Option<&Part>| found.map(|part| part.units.clone()).unwrap_or_default();
        match set {
            UnitSet::All => vec![true; units.len()],
            UnitSet::Circuit => units.circuit(),
            UnitSet::Complement => units.complement(),
            UnitSet::RandomCircuit(draw) => units.random_circuit(draw),
            UnitSet::RandomRemoved(draw) => units.random_removed(draw),
            UnitSet::Without(family, index) => units.without(&units_of(part(family, index))),
            UnitSet::Inflated(family, draw) => {
                let count = self.families.get(family).map_or(0, Vec::len);
                units.inflated(&units_of(part(family, units.drawn_part((family, draw), count))), (family, draw))
            }
        }
    }

    /// Runs the tests on the scores of [`Self::sets`].
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for scores that are not finite.
    pub(super) fn judge(&self, scores: &Scores) -> Result<CircuitTests, TrainError> {
        let of = |set| scores.get(&set).map_or(&[][..], Vec::as_slice);
        let (full, circuit, complement) = (of(UnitSet::All), of(UnitSet::Circuit), of(UnitSet::Complement));
        let distance = |set| mean_squared_difference(full, of(set));
        let distances = |set: fn(usize) -> UnitSet| {
            (0..self.settings.random).map(|draw| distance(set(draw))).collect::<Result<Vec<_>, _>>()
        };
        let sufficient = (distance(UnitSet::Circuit)?, distances(UnitSet::RandomCircuit)?);
        let necessary = (distance(UnitSet::Complement)?, distances(UnitSet::RandomRemoved)?);
        Ok(CircuitTests {
            scores: full.len(),
            units: self.units.len(),
            circuit_units: self.units.size(),
            full: ScoreSummary::of(full),
            circuit: ScoreSummary::of(circuit),
            complement: ScoreSummary::of(complement),
            equivalence: self.equivalence(full, circuit)?,
            independence: self.independence(full, complement),
            sufficiency: self.random_sets(sufficient, sufficiency)?,
            partial_necessity: self.random_sets(necessary, partial_necessity)?,
            removed_from_outside: self.units.has_large_complement(),
            components: self.minimality(0, circuit, of)?,
            layers: self.minimality(1, circuit, of)?,
        })
    }

    /// Every second tie is a win. Otherwise a circuit with the scores of the model would never win, and would be rejected.
    fn equivalence(&self, full: &[f64], circuit: &[f64]) -> Result<EquivalenceTest, TrainError> {
        let (mut ties, mut signs) = (0, Vec::new());
        for (full, circuit) in full.iter().zip(circuit) {
            let is_tie = full == circuit;
            ties += usize::from(is_tie);
            signs.push(if circuit > full || (is_tie && ties % 2 == 0) { 1.0 } else { -1.0 });
        }
        let found = equivalence(&vec![0.0; signs.len()], &signs, &[self.settings.epsilon])?;
        let p_value = found.p_values.first().copied().unwrap_or(f64::NAN);
        Ok(EquivalenceTest {
            wins: found.wins - ties / 2,
            ties,
            win_share: found.wins as f64 / signs.len() as f64,
            p_value,
            rejected: p_value < self.settings.alpha,
        })
    }

    fn independence(&self, full: &[f64], complement: &[f64]) -> TestOutcome<IndependenceTest> {
        let n = full.len().min(INDEPENDENCE_EXAMPLES);
        let spaced = |scores: &[f64]| (0..n).map(|place| scores[place * full.len() / n]).collect::<Vec<_>>();
        let permutations = random_permutations(n, PERMUTATIONS, self.seed);
        match independence(&spaced(full), &spaced(complement), &permutations) {
            Ok(found) => TestOutcome::Tested(IndependenceTest {
                examples: n,
                permutations: permutations.len(),
                sigma: found.sigma,
                hsic: found.hsic,
                at_least: found.at_least,
                p_value: found.p_value_plus_one,
                rejected: found.p_value_plus_one < self.settings.alpha,
            }),
            // A single score, or scores that are all equal.
            Err(error) => TestOutcome::NotTested { reason: error.to_string() },
        }
    }

    fn random_sets(
        &self,
        (distance, random_distances): (f64, Vec<f64>),
        test: fn(f64, &[f64], f64) -> Result<ReferenceTest, TrainError>,
    ) -> Result<RandomSetsTest, TrainError> {
        let quantile = self.settings.quantile;
        let found = test(distance, &random_distances, quantile)?;
        Ok(RandomSetsTest {
            distance,
            wins: found.wins,
            p_value: found.p_value,
            smallest_p_value: quantile.powf(random_distances.len() as f64),
            rejected: found.p_value < self.settings.alpha,
            random_distances,
        })
    }

    fn minimality<'s>(
        &self,
        family: usize,
        circuit: &[f64],
        of: impl Fn(UnitSet) -> &'s [f64],
    ) -> Result<TestOutcome<MinimalityTest>, TrainError> {
        let parts = &self.families[family];
        if let Some(reason) = self.obstacle(parts) {
            return Ok(TestOutcome::NotTested { reason: reason.into() });
        }
        let effect = |set| mean_squared_difference(circuit, of(set));
        let effects = (0..parts.len()).map(|part| effect(UnitSet::Without(family, part)));
        let effects = effects.collect::<Result<Vec<_>, _>>()?;
        let random = (0..self.settings.random).map(|draw| effect(UnitSet::Inflated(family, draw)));
        let random_effects = random.collect::<Result<Vec<_>, _>>()?;
        let found = minimality(&effects, &random_effects, self.settings.quantile, self.settings.alpha)?;
        let part = |(index, part): (usize, &Part)| PartTest {
            name: part.name.clone(),
            units: part.units.len(),
            effect: effects[index],
            wins: found.wins[index],
            p_value: found.p_values[index],
            can_go: found.bonferroni_rejected[index],
        };
        let parts = parts.iter().enumerate().map(part).collect();
        Ok(TestOutcome::Tested(MinimalityTest { parts, random_effects, is_minimal: found.is_minimal }))
    }

    /// Why parts cannot be tested for minimality, if they cannot.
    fn obstacle(&self, parts: &[Part]) -> Option<&'static str> {
        if parts.is_empty() {
            return Some("the circuit keeps no unit");
        }
        (self.units.size() == self.units.len())
            .then_some("no unit is outside the circuit, so random ones cannot be added")
    }
}

impl ScoreSummary {
    fn of(scores: &[f64]) -> Self {
        let n = scores.len() as f64;
        let right = scores.iter().filter(|score| **score > 0.0).count();
        Self { mean: scores.iter().sum::<f64>() / n, right: right as f64 / n }
    }
}
