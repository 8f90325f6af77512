//! `about.json`: by which program, with which inputs and when a run was made.

use std::fs::File;
use std::io::copy;
use std::path::Path;
use std::time::{Duration, SystemTime};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::data::{Dataset, Examples};
use crate::error::TrainError;

/// The file in the run folder.
pub(crate) const ABOUT: &str = "about.json";

/// By which program, with which inputs and when a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of this crate.
    pub version: String,
    /// Commit of the program: the environment variable `NEUROSURGEON_COMMIT` at build time.
    pub commit: Option<String>,
    /// The device, with its backend.
    pub backend: String,
    /// Number of threads of the backend on the CPU.
    pub threads: usize,
    /// SHA-256 of the safetensors files of the model, in alphabetical order; `None` for a fresh model.
    pub model_sha256: Option<String>,
    /// SHA-256 of the examples: inputs, read positions, labels, partners and sets.
    pub data_sha256: String,
    /// Start of the session that finished the run (RFC 3339, UTC).
    pub started: String,
    /// End of the run (RFC 3339, UTC).
    pub ended: String,
    /// Seconds between the two.
    pub seconds: f64,
}

impl About {
    /// Describes a run that starts now.
    pub(crate) fn new(model_sha256: Option<String>, examples: &Examples, device: &Device) -> Self {
        let now = timestamp(SystemTime::now());
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: option_env!("NEUROSURGEON_COMMIT").map(Into::into),
            backend: format!("{device:?}"),
            threads: rayon::current_num_threads(),
            model_sha256,
            data_sha256: examples_hash(examples),
            started: now.clone(),
            ended: now,
            seconds: 0.0,
        }
    }

    /// The run ends now, after `elapsed`.
    pub(crate) fn end(self, elapsed: Duration) -> Self {
        Self { ended: timestamp(SystemTime::now()), seconds: elapsed.as_secs_f64(), ..self }
    }

    /// Whether a finished run in a folder was made by the same program with the same inputs.
    pub(crate) fn is_repeated_in(&self, folder: &Path) -> bool {
        let inputs = |about: &Self| {
            let Self { version, commit, model_sha256, data_sha256, .. } = about.clone();
            (version, commit, model_sha256, data_sha256)
        };
        Self::of_run(folder).is_some_and(|found| inputs(&found) == inputs(self))
    }

    /// How the finished run in a folder was made; `None` if the folder does not say it.
    pub(crate) fn of_run(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(ABOUT)).ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// SHA-256 of the safetensors files in a model folder, in alphabetical order. For a single file it is what `sha256sum`
/// prints.
///
/// # Errors
/// Returns [`TrainError::Io`] if a file cannot be read.
pub(crate) fn weights_hash(folder: &Path) -> Result<String, TrainError> {
    let read = |error| TrainError::io("read", folder)(error);
    let entries = std::fs::read_dir(folder).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    let mut hash = Sha256::new();
    for path in paths {
        let mut file = File::open(&path).map_err(TrainError::io("read", &path))?;
        copy(&mut file, &mut hash).map_err(TrainError::io("read", &path))?;
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// SHA-256 of examples: inputs, read positions, labels and sets.
pub(crate) fn examples_hash(examples: &Examples) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    examples.classes().iter().for_each(|class| add(class.as_bytes()));
    examples.numbers().iter().for_each(|number| add(&number.to_le_bytes()));
    for (name, rows) in examples.split().sets() {
        add(name.as_bytes());
        for row in rows {
            add(&examples.key(*row).to_le_bytes());
            examples.rows().of(*row).iter().for_each(|label| add(&label.to_le_bytes()));
            examples.partner_key(*row).iter().for_each(|partner| add(&partner.to_le_bytes()));
        }
    }
    format!("{:x}", hash.finalize())
}

fn timestamp(time: SystemTime) -> String {
    OffsetDateTime::from(time).replace_millisecond(0).unwrap_or(time.into()).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_one_file_is_that_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.safetensors"), "abc").unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let hash = weights_hash(folder.path()).unwrap();
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn times_are_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(timestamp(time), "2001-09-09T01:46:40Z");
    }
}
