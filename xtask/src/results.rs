//! `results DIR --reference FILE`: the results of runs next to reference values.

use std::path::PathBuf;

use clap::Args;
use ns_train::{compare_with_reference, read_reference, read_rows, reference_table};

use crate::output::say;
use crate::report::write_report;

/// Print results next to those of other runs, or published ones
///
/// DIR is a folder with the results.json that `train` or `evaluate` wrote. FILE is another results.json or results.csv,
/// or a table with the columns model, data, variable, site and those of results.csv, such as knn_test, accuracy_test and
/// accuracy_test_zero. An empty cell was not measured.
///
/// Rows belong together if they have the same variable, the same site, and the same last part of the paths of model and
/// data. Rows that differ only in the seed are averaged. A cell is `0.963 / 1.000`, DIR before FILE; `–` was not measured
/// or is not in FILE. Measures that only one of the two has are left out.
///
/// Example: cargo xtask results runs/gpt2-number --reference models/agreement/published.csv
#[derive(Args)]
pub(crate) struct Results {
    /// Folder with results.json
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Table of reference values: .csv, .json, .tsv, .jsonl or .parquet
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// Also write the numbers to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Results {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let rows = compare_with_reference(&read_rows(&self.folder)?, &read_reference(&self.reference)?)?;
        write_report(self.json.as_deref(), &rows)?;
        say!("{}", reference_table(&rows).trim_end());
        say!("each cell: {} / {}", self.folder.display(), self.reference.display());
        Ok(())
    }
}
