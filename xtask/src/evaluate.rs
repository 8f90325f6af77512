//! `evaluate RUN --data FILE`: a finished run on new data.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use ns_train::{BaseModelPool, evaluate_run, row_table, write_results};

use crate::activation_cache::ActivationCacheOption;
use crate::backend::BackendOption;
use crate::output::say;

/// Evaluate a finished run on new data
///
/// RUN is the folder of a run that `train` finished. FILE is a table with the columns that the recipe of the run names;
/// columns for the split are not needed. It takes the place of the dev, test and ood sets. Everything else is as it was:
/// the weights of the probe (or of the model or circuit) and of its controls, the classes, and the training examples
/// that 1-NN remembers, so a copy of the recipe's own test rows gives the accuracies of the run again. Run the command
/// in the folder in which `train` ran.
///
/// The rows are those of `train`, with FILE as data: knn_test or probe_test with f1_macro_test, the controls, the
/// majority class and the size of the circuit. They are written to results.json, results.csv and table.md.
///
/// Example: cargo xtask evaluate runs/number-0 --data newspaper.csv
#[derive(Args)]
pub(crate) struct Evaluate {
    /// Folder of a finished run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Table with the examples: .csv, .tsv, .jsonl or .parquet
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder of the results [default: RUN/evaluation-<name of FILE>]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    activations: ActivationCacheOption,
    #[command(flatten)]
    backend: BackendOption,
}

impl Evaluate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let out = self.folder();
        ensure!(
            !out.join("recipe.toml").exists(),
            "`{}` is the folder of a run, whose results would be overwritten; choose another --out",
            out.display()
        );
        let pool = BaseModelPool::new(&self.backend.device()?, self.activations.activation_cache_mb);
        let rows = evaluate_run(&self.run, &self.data, &pool)?;
        write_results(&out, &rows)?;
        say!("{}", row_table(&rows).trim_end());
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        let stem = self.data.file_stem().unwrap_or_default().to_string_lossy();
        self.out.clone().unwrap_or_else(|| self.run.join(format!("evaluation-{stem}")))
    }
}
