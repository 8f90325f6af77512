//! Evaluation of trained models and circuits: accuracy, 1-nearest-neighbour accuracy of probed vectors, and ablations
//! with random controls.

mod ablation_study;
mod accuracy;
mod answers;
mod attribution;
mod behaviour;
mod candidates;
mod circuit_probe;
mod circuit_tests;
mod classifier;
mod curve;
mod patching;
mod prefix_tree;
mod regression;
mod replaced_units;
mod row;
mod scores;
mod subject;
mod unit_ablation;
mod unit_ranking;

pub use ablation_study::{AblationReport, AblationRow, AblationStudy, ReplacedUnits};
pub(crate) use accuracy::count_right;
pub(crate) use answers::with_answers;
pub(crate) use attribution::{AttributionScores, UnitScores, unit_scores};
pub use behaviour::{Behaviour, Controls, Spread};
pub(crate) use behaviour::{mean_and_sd, set_behaviour};
pub(crate) use candidates::{Answers, Candidates};
pub(crate) use circuit_probe::{ProbeEvaluation, SupportSets, mask_init_value, mask_quantiles};
pub use circuit_tests::{
    CircuitTestSettings, CircuitTests, EquivalenceTest, IndependenceTest, MinimalityTest, PartTest, RandomSetsTest,
    ScoreSummary, TestOutcome,
};
pub(crate) use classifier::{Predictions, outputs, predict};
pub use curve::{Areas, CurvePoint, FaithfulnessCurve, RandomAreas};
pub(crate) use curve::{CircuitMeter, Measured, faithfulness_curve};
pub(crate) use patching::PatchRuns;
pub use patching::{CountedFrom, PatchKind, PatchMap, PatchPosition, PatchReport, PatchRow};
pub(crate) use regression::{Fit, LabelScale};
#[cfg(test)]
pub(crate) use row::tests::row as some_row;
pub use row::{Measures, Row};
pub(crate) use scores::{Answering, answer_scores, label_scores};
pub(crate) use subject::{FrozenModel, WholeModel};
pub(crate) use unit_ablation::{UnitAblation, check_outputs};
pub(crate) use unit_ranking::{UnitRanking, masked_layer};
