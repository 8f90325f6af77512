//! The epoch loop: resumes, trains, checks the loss, writes checkpoints and stops on request.
//!
//! This replaces the loop of burn-train, which has no hook between epochs that may change the model, and does not
//! restore everything that a resumed run needs to compute the same numbers. Checkpoint files and records are
//! burn-train's.

use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::CheckpointerError;

use crate::error::TrainError;
use crate::run::{Interrupt, Metrics, Progress, Run};

/// A model or probe that a [`Learner`] trains epoch by epoch.
pub trait Trainable {
    /// Trains one epoch and returns its metrics. Epochs are counted from 0.
    ///
    /// # Errors
    /// Returns an error if a step or an evaluation fails.
    fn epoch(&mut self, epoch: usize) -> Result<Metrics, TrainError>;

    /// Returns the model and optimiser state that a checkpoint stores.
    fn records(&self) -> (ModuleRecord, OptimizerRecord);

    /// Restores the state of a checkpoint.
    ///
    /// # Errors
    /// Returns [`CheckpointerError::Record`] if the checkpoint belongs to another model.
    fn restore(&mut self, model: ModuleRecord, optimizer: OptimizerRecord) -> Result<(), CheckpointerError>;
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs were trained.
    Finished,
    /// Training stopped on request, after writing a checkpoint.
    Interrupted {
        /// Number of epochs that were trained, including those before a resume.
        epochs_done: usize,
    },
}

/// The epoch loop: trains a [`Trainable`] in a [`Run`] folder.
#[derive(Clone, Debug)]
pub struct Learner {
    /// Label of the progress bar.
    pub label: String,
    /// Total number of epochs.
    pub epochs: usize,
    /// Number of epochs between two checkpoints.
    pub checkpoint_every: usize,
    /// Stop request, checked after each epoch.
    pub interrupt: Interrupt,
}

impl Learner {
    /// Trains up to the last epoch, starting from the last checkpoint of the run if there is one. Returns the outcome
    /// and the metrics of all epochs, including those before the checkpoint.
    ///
    /// # Errors
    /// Returns [`TrainError::NanLoss`] if the loss is not finite; the run then continues from the last checkpoint whose
    /// weights had a finite loss. Returns [`TrainError::Checkpoint`] or [`TrainError::Io`] if the run folder cannot be
    /// read or written, and errors of [`Trainable::epoch`].
    pub fn train(&self, trainable: &mut impl Trainable, run: &Run) -> Result<(Outcome, Vec<Metrics>), TrainError> {
        let first = run.checkpointed();
        let mut metrics = self.resume(trainable, run, first)?;
        let mut progress = Progress::new(&self.label, first, self.epochs);
        for epoch in first..self.epochs {
            let epoch_metrics = trainable.epoch(epoch)?;
            if !epoch_metrics.loss.is_finite() {
                let last_good = run.last_good_checkpoint(epoch)?;
                let (loss, epoch) = (epoch_metrics.loss, epoch + 1);
                return Err(TrainError::NanLoss { loss, epoch, last_good, folder: run.folder().into() });
            }
            progress.update(epoch + 1, &format!("loss {:.4}", epoch_metrics.loss));
            metrics.push(epoch_metrics);
            let done = epoch + 1;
            let stop = self.interrupt.asked();
            if stop || done == self.epochs || done.is_multiple_of(self.checkpoint_every.max(1)) {
                let (model, optimizer) = trainable.records();
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

    /// Restores the checkpoint of epoch `first` and returns the metrics up to it. Does nothing if `first` is 0.
    fn resume(&self, trainable: &mut impl Trainable, run: &Run, first: usize) -> Result<Vec<Metrics>, TrainError> {
        if first == 0 {
            return Ok(Vec::new());
        }
        let (model, optimizer, metrics) = run.load_checkpoint(first)?;
        let failed = |source| TrainError::Checkpoint { epoch: first, folder: run.folder().into(), source };
        trainable.restore(model, optimizer).map_err(failed)?;
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use burn::module::{Module, Param};
    use burn::optim::AdamWConfig;
    use burn::tensor::{Device, Tensor};

    /// Counts its epochs in a weight. Its loss becomes NaN in epoch `fails_in`.
    struct Counter {
        weight: Param<Tensor<1>>,
        fails_in: usize,
    }

    impl Counter {
        fn new(fails_in: usize) -> Self {
            Self { weight: Param::from_tensor(Tensor::zeros([1], &Device::default())), fails_in }
        }
    }

    impl Trainable for Counter {
        fn epoch(&mut self, epoch: usize) -> Result<Metrics, TrainError> {
            self.weight = self.weight.clone().map(|weight| weight + 1.0);
            let counted: f64 = self.weight.val().into_scalar();
            assert_eq!(counted as usize, epoch + 1);
            Ok(Metrics::new(epoch + 1, if epoch == self.fails_in { f64::NAN } else { counted }))
        }

        fn records(&self) -> (ModuleRecord, OptimizerRecord) {
            (self.weight.clone().into_record(), AdamWConfig::new().init().to_record())
        }

        fn restore(&mut self, model: ModuleRecord, _: OptimizerRecord) -> Result<(), CheckpointerError> {
            self.weight = self.weight.clone().try_load_record(model).map_err(CheckpointerError::Record)?;
            Ok(())
        }
    }

    fn learner() -> Learner {
        Learner { label: "test".into(), epochs: 7, checkpoint_every: 2, interrupt: Interrupt::default() }
    }

    fn run(folder: &std::path::Path) -> Run {
        Run::open(folder, &BTreeMap::from([("recipe", 1)]), 0).unwrap()
    }

    #[test]
    fn a_nan_keeps_the_last_checkpoint_whose_loss_was_finite() {
        // Checkpoints are written after 2 and 4 epochs. The loss of epoch index 4 is computed with the weights of
        // checkpoint 4.
        for (fails_in, last_good) in [(4, 2), (5, 4), (2, 0), (1, 0)] {
            let folder = tempfile::tempdir().unwrap();
            let run = run(folder.path());
            let error = learner().train(&mut Counter::new(fails_in), &run).unwrap_err();
            assert!(matches!(error, TrainError::NanLoss { last_good: found, .. } if found == last_good), "{error}");
            let (_, metrics) = learner().train(&mut Counter::new(usize::MAX), &run).unwrap();
            assert_eq!(metrics.iter().map(|m| m.loss as usize).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
        }
    }

    #[test]
    fn an_interrupted_run_continues_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(folder.path());
        let interrupted = learner();
        interrupted.interrupt.ask();
        let (outcome, _) = interrupted.train(&mut Counter::new(usize::MAX), &run).unwrap();
        assert_eq!(outcome, Outcome::Interrupted { epochs_done: 1 });
        let (outcome, metrics) = learner().train(&mut Counter::new(usize::MAX), &run).unwrap();
        assert_eq!((outcome, metrics.len()), (Outcome::Finished, 7));
    }
}
