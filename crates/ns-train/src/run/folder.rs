//! A run's folder: recipe, metrics, checkpoints, state.

use std::path::{Path, PathBuf};

use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpointer, FileCheckpointer};
use ns_models::write_atomically;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::run::Metrics;

const RECIPE: &str = "recipe.toml";
const METRICS: &str = "metrics.jsonl";
const STATE: &str = "state.json";
const CHECKPOINTS: &str = "checkpoints";
/// Subfolder that holds the model where training made one.
pub(crate) const MODEL: &str = "model";

/// The folder of a run.
///
/// `recipe.toml` (with the seed), `metrics.jsonl` (one object an epoch), `checkpoints/{model,optim}-N.bpk` and
/// `state.json`, which is written last: what it says is whole.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct State {
    /// Epochs that the checkpoint has seen.
    epoch: usize,
    /// The checkpoint before it, 0 if there is none.
    #[serde(default)]
    previous: usize,
}

impl Run {
    /// Opens the folder of a run, or makes it.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`] when it holds a checkpoint of another recipe or seed,
    /// [`TrainError::Io`] when it cannot be written.
    pub fn open(folder: &Path, recipe: &impl Serialize, seed: u64) -> Result<Self, TrainError> {
        #[derive(Serialize)]
        struct WithSeed<'a, R> {
            seed: u64,
            #[serde(flatten)]
            recipe: &'a R,
        }
        std::fs::create_dir_all(folder).map_err(TrainError::io("make", folder))?;
        let path = folder.join(RECIPE);
        let text = toml::to_string(&WithSeed { seed, recipe })
            .map_err(|error| TrainError::Recipe { path: path.clone(), reason: error.to_string() })?;
        let run = Self { folder: folder.into() };
        match std::fs::read_to_string(&path) {
            Ok(found) if found == text => {}
            Ok(_) if run.checkpointed() > 0 => return Err(TrainError::OtherRun { folder: folder.into() }),
            _ => write_atomically(&path, text.as_bytes()).map_err(TrainError::io("write", &path))?,
        }
        Ok(run)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file of the run, whole or not at all.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn write(&self, name: &str, text: &str) -> Result<(), TrainError> {
        let path = self.path(name);
        write_atomically(&path, text.as_bytes()).map_err(TrainError::io("write", path))
    }

    /// Epochs that the last checkpoint has seen, 0 if there is none.
    pub fn checkpointed(&self) -> usize {
        self.state().epoch
    }

    fn state(&self) -> State {
        let text = std::fs::read_to_string(self.path(STATE)).ok();
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    fn set_state(&self, state: State) -> Result<(), TrainError> {
        self.write(STATE, &format!("{{\"epoch\": {}, \"previous\": {}}}\n", state.epoch, state.previous))
    }

    /// The last checkpoint whose weights gave a finite loss, when the epoch after `done` epochs did not: a checkpoint
    /// right before the failure holds the weights that failed, so the run goes back to the one before.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub(crate) fn last_good_checkpoint(&self, done: usize) -> Result<usize, TrainError> {
        let state = self.state();
        if state.epoch == done && done > 0 {
            self.set_state(State { epoch: state.previous, previous: 0 })?;
        }
        Ok(self.checkpointed())
    }

    /// Writes a checkpoint with the metrics up to it; the one before is kept, older ones are removed.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`], [`TrainError::Io`].
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
        self.set_state(State { epoch, previous: before.epoch })?;
        for name in ["model", "optim"] {
            Checkpointer::<ModuleRecord>::delete(&self.checkpointer(name), before.previous).map_err(failed)?;
        }
        Ok(())
    }

    /// Reads the checkpoint of an epoch and the metrics up to it.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`], [`TrainError::Io`].
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
