//! Reports that commands write with the option `--json`.

use std::path::Path;

use ns_train::write_json;
use serde::Serialize;

/// Writes a report to the file of the option `--json`, if it is given.
pub(crate) fn write_report(file: Option<&Path>, report: &impl Serialize) -> anyhow::Result<()> {
    if let Some(path) = file {
        write_json(path, report)?;
    }
    Ok(())
}
