//! Golden cases: runs models, masks, probes, k-NN, linear methods and statistics on reference data from PyTorch, numpy and
//! scikit-learn and compares every tensor.

mod compare;
mod curves;
mod inputs;
mod interventions;
mod knn;
mod linear;
mod masks;
mod models;
mod probes;
mod scalars;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use burn::tensor::{Device, TensorData};
use ns_models::{Checkpoint, ModelError};
use serde::{Serialize, Serializer};
use serde_json::Value;

pub use compare::{TensorComparison, ToleranceKind};
pub use curves::CURVES_CASE_INPUTS;
pub use linear::{LINEAR_CASE_INPUTS, LINEAR_CASE_SCALARS};

use crate::error::TrainError;

/// Kind of a case. It is also the name of the folder that holds the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseKind {
    /// Models with inputs, outputs and hidden states.
    Models,
    /// Single masked layers.
    Masks,
    /// Probes with their training.
    Probes,
    /// 1-nearest-neighbour classification.
    Knn,
    /// Faithfulness curves, rankings, permutation tests and hypothesis tests.
    Curves,
    /// Linear probes, logistic regression and counterfactual embeddings of given vectors.
    Linear,
    /// Ablations, patching and attributions.
    Interventions,
}

impl CaseKind {
    /// All kinds, in the order in which they run.
    pub const ALL: [Self; 7] =
        [Self::Models, Self::Masks, Self::Probes, Self::Knn, Self::Curves, Self::Linear, Self::Interventions];

    /// Name of the folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Masks => "masks",
            Self::Probes => "probes",
            Self::Knn => "knn",
            Self::Curves => "curves",
            Self::Linear => "linear",
            Self::Interventions => "interventions",
        }
    }
}

/// Outcome of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Every expected tensor was produced and is within its tolerance.
    Pass,
    /// A tensor is missing or outside its tolerance, or the case could not be run. Contains the reason.
    Fail(String),
}

/// Result of one case.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Name of the case's folder.
    pub case: String,
    /// Kind of the case.
    pub kind: CaseKind,
    /// Outcome.
    pub status: Status,
    /// The tensor with the largest error relative to its tolerance; `None` if the case could not be run.
    pub worst: Option<TensorComparison>,
}

impl Serialize for CaseResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            case: &'a str,
            kind: CaseKind,
            status: &'static str,
            tensor: Option<&'a str>,
            err: Option<f64>,
            tol: Option<f64>,
            tol_kind: Option<ToleranceKind>,
        }
        let worst = self.worst.as_ref();
        Line {
            case: &self.case,
            kind: self.kind,
            status: match self.status {
                Status::Pass => "PASS",
                Status::Fail(_) => "FAIL",
            },
            tensor: worst.map(|worst| worst.tensor.as_str()),
            err: worst.and_then(|worst| worst.error.as_ref().ok().copied()),
            tol: worst.map(|worst| worst.tolerance),
            tol_kind: worst.map(|worst| worst.kind),
        }
        .serialize(serializer)
    }
}

/// Finds the cases in `folder`, which contains `<kind>/<case>` for each [kind](CaseKind::folder), e.g. `models/<case>`. Cases
/// of a kind are sorted by name.
///
/// # Errors
/// Returns [`TrainError::Io`] if a folder cannot be read, and [`TrainError::Setting`] if there are no cases.
pub fn find_cases(folder: impl AsRef<Path>) -> Result<Vec<(CaseKind, PathBuf)>, TrainError> {
    let folder = folder.as_ref();
    std::fs::read_dir(folder).map_err(TrainError::io("read", folder))?;
    let mut cases = Vec::new();
    for kind in CaseKind::ALL {
        let path = folder.join(kind.folder());
        if !path.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&path).map_err(TrainError::io("read", &path))?;
        let mut folders: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|p| p.is_dir()).collect();
        folders.sort();
        cases.extend(folders.into_iter().map(|path| (kind, path)));
    }
    let found = format!("`{}`, which contains none", folder.display());
    let expected = format!("cases are folders <kind>/<case> in it, where a kind is {}", kinds());
    TrainError::check(!cases.is_empty(), "the folder of golden cases", found, expected)?;
    Ok(cases)
}

/// The names of all kinds.
fn kinds() -> String {
    CaseKind::ALL.map(CaseKind::folder).join(", ")
}

/// Runs one case on `device`, which must be without autodiff. Errors and panics become [`Status::Fail`].
pub fn run_case(kind: CaseKind, folder: impl AsRef<Path>, device: &Device) -> CaseResult {
    let folder = folder.as_ref();
    let case = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let run = || match kind {
        CaseKind::Models => models::run(folder, device),
        CaseKind::Masks => masks::run(folder, device),
        CaseKind::Probes => probes::run(folder, device),
        CaseKind::Knn => knn::run(folder, device),
        CaseKind::Curves => curves::run(folder),
        CaseKind::Linear => linear::run(folder, device),
        CaseKind::Interventions => interventions::run(folder, device),
    };
    // A kernel may panic on a malformed case. The remaining cases must still run.
    let comparisons = catch_unwind(AssertUnwindSafe(run));
    let (status, worst) = match comparisons {
        Ok(Ok(comparisons)) => summarize(comparisons),
        Ok(Err(error)) => (Status::Fail(error.to_string()), None),
        Err(_) => (Status::Fail("the case panicked".into()), None),
    };
    CaseResult { case, kind, status, worst }
}

/// Returns the outcome of a case and its worst tensor.
fn summarize(comparisons: Vec<TensorComparison>) -> (Status, Option<TensorComparison>) {
    let worst = comparisons.into_iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let status = match &worst {
        None => Status::Fail("the case has no expected tensors".into()),
        Some(worst) if worst.passes() => Status::Pass,
        Some(worst) => Status::Fail(worst.to_string()),
    };
    (status, worst)
}

type Tensors = BTreeMap<String, TensorData>;

fn read_json(path: &Path) -> Result<Value, TrainError> {
    let text = std::fs::read_to_string(path).map_err(TrainError::io("read", path))?;
    let parsed = serde_json::from_str(&text);
    parsed.map_err(|error| ModelError::InvalidJson { path: path.into(), reason: error.to_string() }.into())
}

fn read_tensors(path: &Path) -> Result<Tensors, TrainError> {
    let checkpoint = Checkpoint::open_file(path)?;
    let read = |name: &str| Some(checkpoint.data(name).transpose()?.map(|data| (name.to_string(), data)));
    Ok(checkpoint.names().filter_map(read).collect::<Result<_, _>>()?)
}

/// Compares each expected tensor with the produced tensor of that name. A tensor that was not produced fails.
fn compare_all(
    expected: &Tensors,
    produced: &Tensors,
    tolerance: impl Fn(&str, &TensorData) -> (ToleranceKind, f64),
) -> Vec<TensorComparison> {
    let compare = |(name, expected): (&String, &TensorData)| {
        TensorComparison::new(name, expected, produced.get(name), tolerance(name, expected))
    };
    expected.iter().map(compare).collect()
}

fn invalid(what: &'static str, found: impl Into<String>, expected: impl Into<String>) -> TrainError {
    ModelError::InvalidInput { what, found: found.into(), expected: expected.into() }.into()
}
