//! `circuit compare A B`: measures the overlap of two circuits.

use std::path::PathBuf;

use clap::Args;
use ns_train::{CircuitView, overlap_table};

use super::source::{SourceOptions, label};
use crate::{backend::BackendOption, output::say, report::write_report};

/// Print how much two circuits overlap, by tensor, by layer and in the whole model
///
/// Only parameters that both circuits mask are compared. Jaccard is the intersection over the union (1 for two empty
/// circuits). Two random sets of these sizes share |A| · |B| / all parameters on average, which is the column "by
/// chance". If the ratio in the last column is above 1, the circuits share more than chance; below 1, they share less.
/// No file is written without --json.
///
/// Example: cargo xtask circuit compare runs/demo/probe-a2-attn-0 runs/demo/probe-a_plus_b-attn-0 --json overlap.json
#[derive(Args)]
pub(crate) struct Compare {
    /// First circuit: the folder of a finished run, or a mask file (safetensors)
    first: PathBuf,
    /// Second circuit: the folder of a finished run, or a mask file (safetensors)
    second: PathBuf,
    #[command(flatten)]
    source: SourceOptions,
    /// Also write the numbers to this file (JSON)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

impl Compare {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let device = self.backend.device()?;
        let view = |path: &PathBuf| anyhow::Ok(CircuitView::new(&self.source.load(path, &device)?));
        let (first, second) = (view(&self.first)?, view(&self.second)?);
        let comparison = first.compare(&second)?;
        write_report(self.json.as_deref(), &comparison)?;
        let label = |path: &PathBuf| label(path);
        say!("first: {}\nsecond: {}\n", label(&self.first), label(&self.second));
        say!("{}", overlap_table(&comparison).trim_end());
        Ok(())
    }
}
