//! `verify DIR`: golden cases against PyTorch.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::Args;
use ns_train::verify::{CaseResult, Status, find_cases, run_case};

use crate::{backend::BackendOption, output::say};

/// Run reference data from PyTorch and compare every tensor, e.g. tests/golden
///
/// A case passes when every expected tensor was produced and lies within its tolerance. The exit status is 0 only when
/// no case failed.
#[derive(Args)]
pub(crate) struct Verify {
    /// Folder with models/<case>, masks/<case>, probes/<case>, knn/<case>
    folder: PathBuf,
    /// Write one JSON object a case to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

impl Verify {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let device = self.backend.device()?;
        let cases = find_cases(&self.folder)?;
        let mut json = match &self.json {
            Some(path) => {
                Some(std::fs::File::create(path).with_context(|| format!("cannot write `{}`", path.display()))?)
            }
            None => None,
        };
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
