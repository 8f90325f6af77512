//! `circuit compare A B`: what two circuits share.

use std::path::PathBuf;

use clap::Args;
use ns_train::{CircuitView, overlap_table, write_json};

use super::source::{SourceOptions, label};
use crate::{backend::BackendOption, output::say};

/// Print what two circuits share, by tensor, by layer and in the whole model
///
/// Compared are the parameters that both circuits mask. Jaccard is the intersection over the union (1 for two empty
/// circuits). By chance, sets of these sizes share |A| · |B| / all: a ratio above 1 says that the circuits seek each
/// other, below 1 that they avoid each other.
#[derive(Args)]
pub(crate) struct Compare {
    /// Folder of a run, or a mask file (safetensors)
    first: PathBuf,
    /// The same for the second circuit
    second: PathBuf,
    #[command(flatten)]
    source: SourceOptions,
    /// Also write the numbers to this file, as JSON
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
        if let Some(path) = &self.json {
            write_json(path, &comparison)?;
        }
        let label = |path: &PathBuf| label(path);
        say!("first: {}\nsecond: {}\n", label(&self.first), label(&self.second));
        say!("{}", overlap_table(&comparison).trim_end());
        Ok(())
    }
}
