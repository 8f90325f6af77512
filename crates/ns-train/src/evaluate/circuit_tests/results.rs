//! What the hypothesis tests of a circuit find.

use serde::Serialize;

/// Results of the hypothesis tests of a circuit (Shi et al. 2024, <https://arxiv.org/abs/2410.13032>).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CircuitTests {
    /// Number of scores: one for each example, or for each predicted token.
    pub scores: usize,
    /// Number of units: entries of the masks.
    pub units: usize,
    /// Number of units in the circuit.
    pub circuit_units: usize,
    /// Scores of the whole model.
    pub full: ScoreSummary,
    /// Scores of the circuit alone.
    pub circuit: ScoreSummary,
    /// Scores of the model without the circuit.
    pub complement: ScoreSummary,
    /// Is the circuit as often better as it is worse than the whole model?
    pub equivalence: EquivalenceTest,
    /// Is the score of the model without the circuit independent of that of the whole model?
    pub independence: TestOutcome<IndependenceTest>,
    /// Is the circuit closer to the model than random circuits of its size?
    pub sufficiency: RandomSetsTest,
    /// Does the model lose more without the circuit than without random sets of units of its size?
    pub partial_necessity: RandomSetsTest,
    /// Whether the random sets of `partial_necessity` are drawn from outside the circuit. They are drawn from all units if
    /// a mask has fewer units outside the circuit than in it.
    pub removed_from_outside: bool,
    /// Which heads and MLPs are not needed?
    pub components: TestOutcome<MinimalityTest>,
    /// Which masked layers are not needed?
    pub layers: TestOutcome<MinimalityTest>,
}

/// The scores of a model: the logit of the right answer minus the best other one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScoreSummary {
    /// Mean over the examples.
    pub mean: f64,
    /// Share of the examples with a positive score: the accuracy.
    pub right: f64,
}

/// The result of a test, or why it has none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TestOutcome<T> {
    /// The result.
    Tested(T),
    /// There is no result.
    NotTested {
        /// Why.
        reason: String,
    },
}

impl<T> TestOutcome<T> {
    /// The result, if there is one.
    pub fn tested(&self) -> Option<&T> {
        match self {
            Self::Tested(result) => Some(result),
            Self::NotTested { .. } => None,
        }
    }
}

/// Null hypothesis: the circuit is better than the whole model on half of the examples, plus or minus ε.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EquivalenceTest {
    /// Number of examples on which the circuit has the higher score.
    pub wins: usize,
    /// Number of examples with equal scores. Every second one counts as a win.
    pub ties: usize,
    /// Share of wins, with every second tie.
    pub win_share: f64,
    /// p-value.
    pub p_value: f64,
    /// Whether the null hypothesis is rejected.
    pub rejected: bool,
}

/// Null hypothesis: the scores of the model without the circuit are independent of those of the whole model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct IndependenceTest {
    /// Number of examples, evenly spaced among all. The time rises with its square.
    pub examples: usize,
    /// Number of random permutations.
    pub permutations: usize,
    /// Width of the kernels.
    pub sigma: f64,
    /// Hilbert–Schmidt independence criterion.
    pub hsic: f64,
    /// Number of permutations whose criterion is at least as large.
    pub at_least: usize,
    /// `(1 + at_least) / (1 + permutations)`.
    pub p_value: f64,
    /// Whether the null hypothesis is rejected.
    pub rejected: bool,
}

/// Null hypothesis: the circuit beats a random set of units of its size with a probability of at most the quantile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RandomSetsTest {
    /// Mean squared difference of the scores from those of the whole model.
    pub distance: f64,
    /// The same for each random set.
    pub random_distances: Vec<f64>,
    /// How many random sets the circuit beats.
    pub wins: usize,
    /// p-value.
    pub p_value: f64,
    /// p-value of a circuit that beats all random sets. If it is above alpha, there are too few of them.
    pub smallest_p_value: f64,
    /// Whether the null hypothesis is rejected.
    pub rejected: bool,
}

/// Null hypothesis, for each part of the circuit: its effect exceeds that of a random set of units outside the circuit
/// with a probability of at least the quantile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MinimalityTest {
    /// The parts of the circuit, in the order of the model.
    pub parts: Vec<PartTest>,
    /// Effects of random units that are added to the circuit and removed again.
    pub random_effects: Vec<f64>,
    /// Whether no null hypothesis is rejected.
    pub is_minimal: bool,
}

/// The minimality of one part of the circuit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartTest {
    /// Name of the part: location and component, or a layer.
    pub name: String,
    /// Number of its units in the circuit.
    pub units: usize,
    /// Mean squared change of the score if the part is removed from the circuit.
    pub effect: f64,
    /// How many random effects it exceeds.
    pub wins: usize,
    /// p-value.
    pub p_value: f64,
    /// Whether the null hypothesis is rejected, with Bonferroni's correction for the number of parts.
    pub can_go: bool,
}
