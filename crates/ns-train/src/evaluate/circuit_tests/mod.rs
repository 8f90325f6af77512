//! Hypothesis tests of a circuit: equivalence, independence, sufficiency, partial necessity and minimality.
//!
//! Every model that the tests compare keeps some units of the masked layers and lacks the others. So the tests list sets of
//! units, score each of them on the same examples in the same order, and compare the scores.

mod parts;
mod plan;
mod results;
mod scoring;
#[cfg(test)]
mod tests;
mod units;

use ns_circuit::CircuitModel;
use serde::Serialize;

use self::plan::{Plan, Scores};
pub use self::results::{
    CircuitTests, EquivalenceTest, IndependenceTest, MinimalityTest, PartTest, RandomSetsTest, ScoreSummary,
    TestOutcome,
};
use self::units::CircuitUnits;
use super::candidates::Answers;
use super::scores::Answering;
use super::subject::{Subject, WholeModel};
use super::unit_ablation::UnitAblation;
use crate::error::TrainError;
use crate::recipe::{AblationName, SetName, check_controls};

/// Settings of the hypothesis tests of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CircuitTestSettings {
    /// The examples.
    pub set: SetName,
    /// Most examples that are used: the first of the set.
    pub most_examples: usize,
    /// What replaces units that are not kept: zero, a mean, or their values on other examples.
    pub ablation: AblationName,
    /// Number of random sets of units for each test that compares with them. At most 1,000,000.
    pub random: usize,
    /// How far from one half the share of examples on which an equivalent circuit beats the model may be.
    pub epsilon: f64,
    /// The share of random sets that a circuit must beat.
    pub quantile: f64,
    /// Significance level of each test.
    pub alpha: f64,
}

impl Default for CircuitTestSettings {
    fn default() -> Self {
        Self {
            set: SetName::Test,
            most_examples: 1000,
            ablation: AblationName::Zero,
            random: 100,
            epsilon: 0.1,
            quantile: 0.9,
            alpha: 0.05,
        }
    }
}

impl CircuitTestSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for an ablation that has new weights, for no random sets or no examples, and for
    /// numbers out of their range.
    pub fn check(&self) -> Result<(), TrainError> {
        check_controls(self.random)?;
        let check = |holds, name, found: String, expected| TrainError::check(holds, name, found, expected);
        let text = |number: f64| number.to_string();
        let zero_or_replaced = self.ablation != AblationName::Reinitialise;
        let expected = "the tests need zero, mean, mean_position or resample";
        check(zero_or_replaced, "the ablation", self.ablation.name().into(), expected)?;
        let expected = "the tests compare with at least one random circuit";
        check(self.random > 0, "random", self.random.to_string(), expected)?;
        let expected = "the tests need at least one example";
        check(self.most_examples > 0, "examples", self.most_examples.to_string(), expected)?;
        let (epsilon, expected) = (self.epsilon, "it must be between 0 and 0.5");
        check((0.0..=0.5).contains(&epsilon), "epsilon", text(epsilon), expected)?;
        for (name, value) in [("quantile", self.quantile), ("alpha", self.alpha)] {
            check(value > 0.0 && value < 1.0, name, text(value), "it must be above 0 and below 1")?;
        }
        Ok(())
    }

    /// Tests a circuit in evaluation mode on some rows of `answers`. `progress` is told how many forward passes of how many
    /// are done.
    ///
    /// # Errors
    /// Returns the errors of [`Self::check`], [`TrainError::Setting`] for a circuit without mask parameters and for scores
    /// that are not finite, and the errors of [`UnitAblation::new`] and of the forward passes.
    pub(crate) fn run<M: Answering>(
        &self,
        circuit: &CircuitModel<M>,
        (answers, rows, seed): (&Answers, &[usize], u64),
        mut progress: impl FnMut(usize, usize),
    ) -> Result<CircuitTests, TrainError> {
        self.check()?;
        let replaces = self.ablation.replaces_outputs();
        let ablation = || UnitAblation::new(self.ablation, circuit, answers, rows, seed);
        let ablation = replaces.then(ablation).transpose()?;
        // The output of a neuron is replaced as a whole, so masks of biases do not count.
        let units = CircuitUnits::new(circuit, !replaces, seed)?;
        let families = [parts::components(circuit, &units), parts::layers(&units)];
        let plan = Plan { settings: self, units: &units, families, seed };
        let (sets, subject) = (plan.sets(), WholeModel::new(answers, rows, circuit.base().head()));
        let batches = Subject::<M>::answers(&subject).len();
        let (mut done, total) = (0, sets.len() * batches);
        let mut step = |passes: usize| {
            done += passes;
            progress(done, total);
        };
        let scores = match &ablation {
            Some(ablation) => {
                let kept: Vec<_> = sets.iter().map(|set| units.neurons(&plan.kept(*set))).collect();
                scoring::with_replaced_outputs(circuit, &subject, ablation, &kept, || step(1))?
            }
            None => {
                let mut circuit = circuit.clone();
                let of_set = |set: &plan::UnitSet| {
                    let scores = scoring::with_zeros(&mut circuit, &subject, &units.params(&plan.kept(*set)))?;
                    step(batches);
                    Ok(scores)
                };
                sets.iter().map(of_set).collect::<Result<_, TrainError>>()?
            }
        };
        plan.judge(&sets.into_iter().zip(scores).collect::<Scores>())
    }
}
