//! The epoch loop: resume, train, watch the loss, keep checkpoints, stop when asked.
//!
//! burn-train's own loop has no hook between epochs that may change the model, and does not restore what a resumed run
//! needs to give the same numbers, so the loop is ours; checkpoint files and records are burn-train's.

use std::{collections::BTreeMap, fmt};

use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::CheckpointerError;
use serde::{Deserialize, Serialize};

use crate::{Interrupt, Progress, Run, TrainError};

/// Numbers of one epoch, by name; `epoch` counts from 1 and `loss` is always there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Training loss.
    pub loss: f64,
    /// Others.
    #[serde(flatten)]
    pub others: BTreeMap<String, f64>,
}

impl Metrics {
    /// The loss of an epoch.
    pub fn new(epoch: usize, loss: f64) -> Self {
        Self { epoch, loss, others: BTreeMap::new() }
    }

    /// Adds a number.
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.others.insert(name.into(), value);
        self
    }

    /// A number by name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.others.get(name).copied()
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

impl fmt::Display for Metrics {
    /// One JSON object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Something that is trained epoch by epoch.
pub trait Trainee {
    /// Trains one epoch, counted from 0.
    ///
    /// # Errors
    /// Whatever the model or the probe gives.
    fn epoch(&mut self, epoch: usize) -> Result<Metrics, TrainError>;

    /// What a checkpoint keeps.
    fn records(&self) -> (ModuleRecord, OptimizerRecord);

    /// Goes back to a checkpoint.
    ///
    /// # Errors
    /// When the checkpoint is not this model's.
    fn restore(&mut self, model: ModuleRecord, optimizer: OptimizerRecord) -> Result<(), CheckpointerError>;
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// Somebody asked to stop; the run continues from here.
    Interrupted {
        /// Epochs that are done.
        epochs_done: usize,
    },
}

/// Trains a [`Trainee`] in a [`Run`].
#[derive(Clone, Debug)]
pub struct Learner {
    /// Name on the progress bar.
    pub label: String,
    /// Epochs in all.
    pub epochs: usize,
    /// Epochs between two checkpoints.
    pub checkpoint_every: usize,
    /// Who may ask to stop.
    pub interrupt: Interrupt,
}

impl Learner {
    /// Continues from the run's last checkpoint, if there is one, up to the last epoch.
    ///
    /// # Errors
    /// [`TrainError::NanLoss`] with the last good checkpoint kept, or what training, reading or writing gives.
    pub fn train(&self, trainee: &mut impl Trainee, run: &Run) -> Result<(Outcome, Vec<Metrics>), TrainError> {
        let first = run.checkpointed();
        let mut metrics = self.resume(trainee, run, first)?;
        let mut progress = Progress::new(&self.label, first, self.epochs);
        for epoch in first..self.epochs {
            let measured = trainee.epoch(epoch)?;
            if !measured.loss.is_finite() {
                let (loss, epoch, last_good) = (measured.loss, epoch + 1, run.checkpointed());
                return Err(TrainError::NanLoss { loss, epoch, last_good, folder: run.folder().into() });
            }
            progress.update(epoch + 1, &format!("loss {:.4}", measured.loss));
            metrics.push(measured);
            let done = epoch + 1;
            let stop = self.interrupt.asked();
            if stop || done == self.epochs || done % self.checkpoint_every.max(1) == 0 {
                let (model, optimizer) = trainee.records();
                run.save_checkpoint(done, model, optimizer, &metrics)?;
            }
            if stop && done < self.epochs {
                progress.finish(done, "interrupted");
                return Ok((Outcome::Interrupted { epochs_done: done }, metrics));
            }
        }
        let loss = metrics.last().map_or(f64::NAN, |metrics| metrics.loss);
        progress.finish(self.epochs, &format!("loss {loss:.4}"));
        Ok((Outcome::Finished, metrics))
    }

    fn resume(&self, trainee: &mut impl Trainee, run: &Run, first: usize) -> Result<Vec<Metrics>, TrainError> {
        if first == 0 {
            return Ok(Vec::new());
        }
        let (model, optimizer, metrics) = run.load_checkpoint(first)?;
        let failed = |source| TrainError::Checkpoint { epoch: first, folder: run.folder().into(), source };
        trainee.restore(model, optimizer).map_err(failed)?;
        Ok(metrics)
    }
}
