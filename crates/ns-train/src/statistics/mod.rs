//! Statistics of circuits: faithfulness curves, rankings of units, permutation tests and hypothesis tests.
//!
//! All functions take slices of `f64` and return plain structs. Inputs that have no result, such as an empty list, a NaN
//! or a ranking without positives, are errors ([`TrainError::Setting`](crate::TrainError::Setting)).
//!
//! - Faithfulness of circuits of growing size: [`circuit_sizes`], [`membership`], [`faithfulness`],
//!   [`FaithfulnessAreas`] (CPR and CMD of the Mechanistic Interpretability Benchmark), [`smallest_size`].
//! - Rankings compared with the truth: [`auroc`], [`average_precision`], [`roc_curve`], [`precision_recall_curve`],
//!   [`best_f1`].
//! - Permutation tests: [`two_samples`], [`sign_flips`], [`among_controls`].
//! - Hypothesis tests of circuits (Shi et al. 2024): [`equivalence`], [`independence`], [`minimality`], [`sufficiency`],
//!   [`partial_necessity`], with the tails of a [`Binomial`] distribution.

mod checks;

mod faithfulness;
mod sizes;

mod ranking;
mod ranks;

mod permutation;

mod binomial;
mod equivalence;
mod independence;
mod minimality;

pub use binomial::Binomial;
pub use equivalence::{Equivalence, equivalence};
pub use faithfulness::{FaithfulnessAreas, faithfulness, smallest_size};
pub use independence::{Independence, independence, random_permutations};
pub use minimality::{Minimality, ReferenceTest, mean_squared_difference, minimality, partial_necessity, sufficiency};
pub(crate) use permutation::p_value_among;
pub use permutation::{Arrangements, ControlTest, PermutationTest, among_controls, sign_flips, two_samples};
pub use ranking::{
    BestF1, PrecisionRecallCurve, RocCurve, auroc, average_precision, best_f1, precision_recall_curve, roc_curve,
};
pub(crate) use ranks::ranks;
pub use sizes::{MIB_SHARES, ScoreOrder, best_units, circuit_sizes, membership};
