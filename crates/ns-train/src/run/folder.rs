//! The folder of a run: recipe, metrics, checkpoints and state.

use std::path::{Path, PathBuf};

use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpointer, FileCheckpointer};
use ns_models::write_atomically;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::run::Metrics;

/// The recipe in the folder of a run.
pub(crate) const RECIPE: &str = "recipe.toml";
const METRICS: &str = "metrics.jsonl";
const STATE: &str = "state.json";
const CHECKPOINTS: &str = "checkpoints";
/// Subfolder of the trained model.
pub(crate) const MODEL: &str = "model";
/// Version of the checkpoints. It changes when a new version of this crate cannot continue from old checkpoints with the
/// same numbers.
const FORMAT: u32 = 3;

/// The folder of a run.
///
/// It holds `recipe.toml` (with the seed), `metrics.jsonl` (one JSON object per epoch),
/// `checkpoints/{model,optim}-N.bpk` and `state.json`. `state.json` is written last, so every file that it refers to is
/// complete.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
}

/// The content of `state.json`.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct State {
    /// [`FORMAT`] of the program that wrote the checkpoints; the first programs wrote none.
    #[serde(default)]
    format: u32,
    /// Number of epochs before the last checkpoint.
    epoch: usize,
    /// The same number for the checkpoint before that; 0 if there is no such checkpoint.
    #[serde(default)]
    previous: usize,
}

impl Run {
    /// Opens the folder of a run, or creates it.
    ///
    /// # Errors
    /// Returns [`TrainError::OtherRun`] if the folder holds a checkpoint of another recipe or seed,
    /// [`TrainError::OtherFormat`] if the checkpoint was written by an incompatible version of this crate, and
    /// [`TrainError::Io`] if the folder cannot be written.
    pub fn open(folder: impl AsRef<Path>, recipe: &impl Serialize, seed: u64) -> Result<Self, TrainError> {
        #[derive(Serialize)]
        struct WithSeed<'a, R> {
            seed: u64,
            #[serde(flatten)]
            recipe: &'a R,
        }
        Self::open_seeded(folder.as_ref(), &WithSeed { seed, recipe })
    }

    /// Opens the folder of a run of a recipe that holds its seed, see [`Self::open`].
    pub(crate) fn open_seeded(folder: &Path, recipe: &impl Serialize) -> Result<Self, TrainError> {
        std::fs::create_dir_all(folder).map_err(TrainError::io("create", folder))?;
        let path = folder.join(RECIPE);
        let text = toml::to_string(recipe)
            .map_err(|error| TrainError::Recipe { path: path.clone(), reason: error.to_string() })?;
        let run = Self { folder: folder.into() };
        let State { format, epoch, .. } = run.state();
        if epoch > 0 && format != FORMAT {
            return Err(TrainError::OtherFormat { folder: folder.into(), found: format, expected: FORMAT });
        }
        match std::fs::read_to_string(&path) {
            Ok(found) if found == text => {}
            Ok(_) if epoch > 0 => return Err(TrainError::OtherRun { folder: folder.into() }),
            _ => write_atomically(&path, text.as_bytes()).map_err(TrainError::io("write", &path))?,
        }
        Ok(run)
    }

    /// Whether a folder holds a run of this recipe, which holds its seed.
    pub(crate) fn is_of(folder: &Path, recipe: &impl Serialize) -> bool {
        let found = std::fs::read_to_string(folder.join(RECIPE)).ok();
        found.is_some() && found == toml::to_string(recipe).ok()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file into the folder atomically.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if the file cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), TrainError> {
        let path = self.path(name);
        write_atomically(&path, text.as_bytes()).map_err(TrainError::io("write", path))
    }

    /// Writes a value into the folder as indented JSON.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if the file cannot be written.
    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), TrainError> {
        self.write(name, &format!("{:#}\n", serde_json::json!(value)))
    }

    /// Number of epochs before the last checkpoint; 0 if there is no checkpoint.
    pub fn checkpointed(&self) -> usize {
        self.state().epoch
    }

    fn state(&self) -> State {
        let text = std::fs::read_to_string(self.path(STATE)).ok();
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    fn set_state(&self, epoch: usize, previous: usize) -> Result<(), TrainError> {
        let state = format!("{{\"format\": {FORMAT}, \"epoch\": {epoch}, \"previous\": {previous}}}\n");
        self.write(STATE, &state)
    }

    /// Returns the last checkpoint whose weights had a finite loss, after the loss became NaN in the epoch that follows
    /// `done` epochs. A checkpoint directly before the failure holds the weights that failed, so the run returns to the
    /// checkpoint before it.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if the state cannot be written.
    pub(crate) fn last_good_checkpoint(&self, done: usize) -> Result<usize, TrainError> {
        let state = self.state();
        if state.epoch == done && done > 0 {
            self.set_state(state.previous, 0)?;
        }
        Ok(self.checkpointed())
    }

    /// Writes a checkpoint together with all metrics so far. The previous checkpoint is kept, older ones are deleted.
    ///
    /// # Errors
    /// Returns [`TrainError::Checkpoint`] or [`TrainError::Io`] if a file cannot be written.
    pub fn save_checkpoint(
        &self,
        epoch: usize,
        model: ModuleRecord,
        optimizer: OptimizerRecord,
        metrics: &[Metrics],
    ) -> Result<(), TrainError> {
        let before = self.state();
        let failed = |source| TrainError::Checkpoint { epoch, folder: self.folder.clone(), source };
        self.checkpointer("model").save(epoch, model).map_err(failed)?;
        self.checkpointer("optim").save(epoch, optimizer).map_err(failed)?;
        let lines: String = metrics.iter().map(|metrics| format!("{metrics}\n")).collect();
        self.write(METRICS, &lines)?;
        self.set_state(epoch, before.epoch)?;
        for name in ["model", "optim"] {
            Checkpointer::<ModuleRecord>::delete(&self.checkpointer(name), before.previous).map_err(failed)?;
        }
        Ok(())
    }

    /// Reads the checkpoint of an epoch and the metrics up to that epoch.
    ///
    /// # Errors
    /// Returns [`TrainError::Checkpoint`] or [`TrainError::Io`] if a file cannot be read.
    pub fn load_checkpoint(&self, epoch: usize) -> Result<(ModuleRecord, OptimizerRecord, Vec<Metrics>), TrainError> {
        let failed = |source| TrainError::Checkpoint { epoch, folder: self.folder.clone(), source };
        let model = self.checkpointer("model").restore(epoch).map_err(failed)?;
        let optimizer = self.checkpointer("optim").restore(epoch).map_err(failed)?;
        let path = self.path(METRICS);
        let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
        let metrics = text.lines().map(Metrics::parse).collect::<Result<Vec<_>, _>>();
        let mut metrics = metrics.map_err(|error| TrainError::io("read", &path)(error.into()))?;
        metrics.retain(|metrics| metrics.epoch <= epoch);
        Ok((model, optimizer, metrics))
    }

    fn checkpointer(&self, name: &str) -> FileCheckpointer {
        FileCheckpointer::new(self.folder.join(CHECKPOINTS), name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_checkpoint_of_another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Run::open(folder.path(), &BTreeMap::from([("recipe", 1)]), 0);
        let run = open().unwrap();
        run.set_state(3, 0).unwrap();
        assert_eq!(open().unwrap().checkpointed(), 3);
        run.write(STATE, "{\"epoch\": 3, \"previous\": 2}\n").unwrap();
        let error = open().unwrap_err();
        assert!(matches!(error, TrainError::OtherFormat { found: 0, expected: FORMAT, .. }), "{error}");
        assert!(error.to_string().contains("--out"), "{error}");
    }
}
