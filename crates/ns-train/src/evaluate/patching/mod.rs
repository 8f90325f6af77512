//! Activation patching: the clean value of one activation, at one position or in one attention head, in the corrupted run.

mod heads;
mod means;
mod pairs;
mod report;
mod run;
#[cfg(test)]
mod tests;

pub use report::{CountedFrom, PatchKind, PatchMap, PatchPosition, PatchReport, PatchRow};
pub(crate) use run::PatchRuns;
