//! `verify FOLDER`: compares golden cases with reference data from PyTorch, numpy and scikit-learn.

use std::{fs::File, io::Write, path::PathBuf};

use anyhow::Context;
use clap::Args;
use ns_train::verify::{CaseResult, Status, find_cases, run_case};

use crate::{backend::BackendOption, output::say};

/// Run reference cases from PyTorch and compare every tensor
///
/// A case is a folder with inputs and the tensors that PyTorch, numpy or scikit-learn computed from them: a model, a masked
/// layer, a probe with its training, a nearest-neighbour classification, statistics of circuits (faithfulness curves,
/// rankings, permutation and hypothesis tests), a linear method (probes on given vectors, logistic regression,
/// counterfactual embeddings), or interventions (ablations of units, patching, attributions). A case passes if every
/// expected tensor is produced and within its tolerance. The command prints one line per case, and its exit status is 0 only if no case failed.
///
/// Example: cargo xtask verify tests/golden
#[derive(Args)]
pub(crate) struct Verify {
    /// Folder with the cases: <kind>/<case>, where a kind is models, masks, probes, knn, curves, linear or interventions
    folder: PathBuf,
    /// Write one JSON object per case to this file (JSON lines)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

impl Verify {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let device = self.backend.device()?;
        let cases = find_cases(&self.folder)?;
        let create = |path: &PathBuf| File::create(path).with_context(|| format!("cannot write `{}`", path.display()));
        let mut json = self.json.as_ref().map(create).transpose()?;
        let [mut passed, mut failed] = [0; 2];
        for (kind, folder) in cases {
            let result = run_case(kind, &folder, &device);
            match result.status {
                Status::Pass => passed += 1,
                Status::Fail(_) => failed += 1,
            }
            say!("{}", line(&result));
            if let Some(file) = &mut json {
                writeln!(file, "{}", serde_json::to_string(&result)?)?;
            }
        }
        say!("{passed} passed, {failed} failed");
        anyhow::ensure!(failed == 0, "{failed} case(s) failed");
        Ok(())
    }
}

fn line(result: &CaseResult) -> String {
    let name = format!("{}/{}", result.kind.folder(), result.case);
    match (&result.status, &result.worst) {
        (Status::Pass, Some(worst)) => format!("PASS  {name}  {worst}"),
        (Status::Pass, None) => format!("PASS  {name}"),
        (Status::Fail(reason), _) => format!("FAIL  {name}  {reason}"),
    }
}
