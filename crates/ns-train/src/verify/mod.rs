//! Golden cases: reference data from PyTorch, run and compared tensor by tensor.

mod compare;
mod knn;
mod masks;
mod models;
mod probes;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use burn::tensor::{Device, TensorData};
use ns_models::{Checkpoint, ModelError};
use serde::{Serialize, Serializer};
use serde_json::Value;

pub use compare::{Comparison, ToleranceKind};

use crate::error::TrainError;

/// Folder that a case lies in, and with it what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseKind {
    /// Models with inputs and outputs.
    Models,
    /// Single masked layers.
    Masks,
    /// Probes with their training.
    Probes,
    /// Nearest neighbours.
    Knn,
}

impl CaseKind {
    /// All kinds, in the order in which they are run.
    pub const ALL: [Self; 4] = [Self::Models, Self::Masks, Self::Probes, Self::Knn];

    /// Name of the folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Masks => "masks",
            Self::Probes => "probes",
            Self::Knn => "knn",
        }
    }
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Every expected tensor was produced and lies within its tolerance.
    Pass,
    /// One was not or does not, for this reason.
    Fail(String),
}

/// Result of one case.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Name of the case's folder.
    pub case: String,
    /// Which folder that lies in.
    pub kind: CaseKind,
    /// How it ended.
    pub status: Status,
    /// The tensor with the largest error in units of its tolerance.
    pub worst: Option<Comparison>,
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
            err: worst.and_then(|worst| worst.error),
            tol: worst.map(|worst| worst.tolerance),
            tol_kind: worst.map(|worst| worst.kind),
        }
        .serialize(serializer)
    }
}

/// Finds the cases below `folder`, laid out as `models/<case>`, `masks/<case>`, `probes/<case>`, `knn/<case>`.
///
/// # Errors
/// [`TrainError::Io`] for a folder that cannot be read, [`TrainError::Setting`] when there is no case.
pub fn find_cases(folder: &Path) -> Result<Vec<(CaseKind, PathBuf)>, TrainError> {
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
    if cases.is_empty() {
        return Err(TrainError::Setting {
            setting: "verify",
            found: format!("`{}` without a case", folder.display()),
            expected: "cases lie in models/<case>, masks/<case>, probes/<case> and knn/<case>".into(),
        });
    }
    Ok(cases)
}

/// Runs one case on `device` (without autodiff). Whatever goes wrong is part of the result.
pub fn run_case(kind: CaseKind, folder: &Path, device: &Device) -> CaseResult {
    let case = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let run = || match kind {
        CaseKind::Models => models::run(folder, device),
        CaseKind::Masks => masks::run(folder, device),
        CaseKind::Probes => probes::run(folder, device),
        CaseKind::Knn => knn::run(folder, device),
    };
    // A kernel's panic on a malformed case must not hide the cases after it.
    let comparisons = catch_unwind(AssertUnwindSafe(run));
    let (status, worst) = match comparisons {
        Ok(Ok(comparisons)) => judge(comparisons),
        Ok(Err(error)) => (Status::Fail(error.to_string()), None),
        Err(_) => (Status::Fail("it panicked".into()), None),
    };
    CaseResult { case, kind, status, worst }
}

fn judge(comparisons: Vec<Comparison>) -> (Status, Option<Comparison>) {
    let worst = comparisons.into_iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let status = match &worst {
        None => Status::Fail("the case expects nothing".into()),
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
    let names: Vec<String> = checkpoint.names().map(String::from).collect();
    let mut tensors = Tensors::new();
    for name in names {
        if let Some(data) = checkpoint.data(&name)? {
            tensors.insert(name, data);
        }
    }
    Ok(tensors)
}

/// Compares everything that is expected; what is not produced fails.
fn compare_all(
    expected: &Tensors,
    produced: &Tensors,
    tolerance: impl Fn(&str, &TensorData) -> compare::Tolerance,
) -> Vec<Comparison> {
    let compare = |(name, expected): (&String, &TensorData)| {
        let tolerance = tolerance(name, expected);
        Comparison::new(name, expected, produced.get(name), tolerance)
    };
    expected.iter().map(compare).collect()
}
