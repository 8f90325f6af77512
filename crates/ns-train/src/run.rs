//! A run's folder: recipe, metrics, checkpoints, state.

use std::path::{Path, PathBuf};

use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpointer, FileCheckpointer};
use ns_models::write_atomically;
use serde::{Deserialize, Serialize};

use crate::{Metrics, TrainError};

const RECIPE: &str = "recipe.toml";
const METRICS: &str = "metrics.jsonl";
const STATE: &str = "state.json";
const CHECKPOINTS: &str = "checkpoints";

/// The folder of a run.
///
/// `recipe.toml` (with the seed), `metrics.jsonl` (one object an epoch), `checkpoints/{model,optim}-N.bpk` and
/// `state.json`, which is written last: what it says is whole.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// Epochs that the checkpoint has seen.
    epoch: usize,
}

impl Run {
    /// Opens the folder of a run, or makes it.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`] when it holds another recipe or seed, [`TrainError::Io`] when it cannot be written.
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
        match std::fs::read_to_string(&path) {
            Ok(found) if found == text => {}
            Ok(_) => {
                return Err(TrainError::OtherRun { folder: folder.into() });
            }
            Err(_) => write_atomically(&path, text.as_bytes()).map_err(TrainError::io("write", &path))?,
        }
        Ok(Self { folder: folder.into() })
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
        let state = std::fs::read_to_string(self.path(STATE)).ok();
        state.and_then(|text| serde_json::from_str::<State>(&text).ok()).map_or(0, |state| state.epoch)
    }

    /// Writes a checkpoint with the metrics up to it, and removes the one before.
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
        let before = self.checkpointed();
        let failed = |source| TrainError::Checkpoint { epoch, folder: self.folder.clone(), source };
        self.checkpointer("model").save(epoch, model).map_err(failed)?;
        self.checkpointer("optim").save(epoch, optimizer).map_err(failed)?;
        let lines: String = metrics.iter().map(|metrics| format!("{metrics}\n")).collect();
        self.write(METRICS, &lines)?;
        self.write(STATE, &format!("{{\"epoch\": {epoch}}}\n"))?;
        if before != epoch && before > 0 {
            for name in ["model", "optim"] {
                let checkpointer = self.checkpointer(name);
                Checkpointer::<ModuleRecord>::delete(&checkpointer, before).map_err(failed)?;
            }
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
        Ok((model, optimizer, text.lines().filter_map(Metrics::parse).collect()))
    }

    fn checkpointer(&self, name: &str) -> FileCheckpointer {
        FileCheckpointer::new(self.folder.join(CHECKPOINTS), name)
    }
}
