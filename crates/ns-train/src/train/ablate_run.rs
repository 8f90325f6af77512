//! The ablation study of a finished run.

use std::path::Path;

use burn::tensor::Device;

use super::behaviour;
use super::judged_run::JudgedRun;
use crate::error::TrainError;
use crate::evaluate::{AblationReport, AblationStudy};
use crate::recipe::SetName;

/// Runs an ablation study on the circuit of a finished run, with the test examples of the run's recipe and the answers of
/// the model's own head.
///
/// # Errors
/// Returns [`TrainError::Io`] or [`TrainError::Recipe`] if `folder` is not the folder of a run, [`TrainError::Setting`] if
/// the head does not predict the labels or the ablations need other masks, and errors of reading the circuit and the data
/// and of [`AblationStudy::run`].
pub fn ablate_run(
    folder: impl AsRef<Path>,
    study: &AblationStudy,
    device: &Device,
) -> Result<AblationReport, TrainError> {
    let run = JudgedRun::open(folder.as_ref(), &study.replaced, device)?;
    behaviour::run_study(&run.circuit, (&run.answers, run.rows(SetName::Test)?, run.recipe.seed), study)
}
