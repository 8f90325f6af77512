//! The trainer: trains any objective on any data set, epoch by epoch.

use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};
use burn::train::checkpoint::CheckpointerError;
use ns_circuit::{CircuitModel, Losses, rng};
use ns_probe::{ActivationCache, Probe};

use super::learner::{Learner, Outcome, Trainable};
use super::objective::{Objective, ProbeObjective};
use crate::data::Dataset;
use crate::error::TrainError;
use crate::recipe::Schedule;
use crate::run::{Interrupt, Metrics, Run};

/// Training state of an objective: its module, the data and the optimiser.
pub struct Trainer<O: Objective> {
    pub(super) objective: O,
    pub(super) module: O::Module,
    pub(super) data: Arc<dyn Dataset>,
    schedule: Schedule,
    optimizer: ModuleOptimizer,
    seed: u64,
    device: Device,
    /// Whether any parameter of the module is trained: no mask of magnitude pruning is.
    has_trained: bool,
}

/// Looks for a parameter that requires gradients.
#[derive(Default)]
struct FindTrained {
    found: bool,
}

impl ModuleVisitor for FindTrained {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found |= param.is_require_grad();
    }
}

impl<O: Objective> Trainer<O> {
    /// Starts with the module as it is. `seed` selects the shuffles and the random numbers of the circuit; `device`,
    /// which must be that of the module, is with autodiff.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if the schedule does not fit the number of training examples.
    pub fn new(
        objective: O,
        mut module: O::Module,
        data: Arc<dyn Dataset>,
        schedule: Schedule,
        seed: u64,
        device: Device,
    ) -> Result<Self, TrainError> {
        schedule.check(data.split().train.len())?;
        O::circuit_mut(&mut module).set_seed(seed);
        let optimizer = schedule.optimizer.init();
        let mut trained = FindTrained::default();
        module.visit(&mut trained);
        Ok(Self { objective, module, data, schedule, optimizer, seed, device, has_trained: trained.found })
    }

    /// The masked model in the module, in training mode.
    pub fn circuit(&self) -> &CircuitModel<O::Base> {
        O::circuit(&self.module)
    }

    /// The examples.
    pub fn data(&self) -> &dyn Dataset {
        &*self.data
    }

    /// Number of optimiser steps per epoch.
    pub fn steps_per_epoch(&self) -> usize {
        let examples = self.data.split().train.len();
        match self.schedule.drop_last {
            true => examples / self.schedule.batch_size,
            false => examples.div_ceil(self.schedule.batch_size),
        }
    }

    /// Rows of each batch of an epoch, counted from 0. They depend only on seed and epoch. A batch of all examples is not
    /// shuffled.
    pub fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let (train, batch_size) = (&self.data.split().train, self.schedule.batch_size);
        if batch_size == train.len() {
            return vec![train.clone()];
        }
        let order = rng::permutation(&mut rng::stream(self.seed, "shuffle", epoch as u64, 0), train.len());
        let rows: Vec<usize> = order.into_iter().map(|index| train[index]).collect();
        let count = self.steps_per_epoch();
        match self.data.batching_length(rows[0]) {
            None => rows.chunks(batch_size).take(count).map(<[usize]>::to_vec).collect(),
            Some(_) => self.by_length(rows, epoch).into_iter().take(count).collect(),
        }
    }

    /// Batches of rows of similar length, in random order: rows are sorted by length in groups of 32 batches.
    fn by_length(&self, mut rows: Vec<usize>, epoch: usize) -> Vec<Vec<usize>> {
        const GROUP: usize = 32;
        let batch_size = self.schedule.batch_size;
        let whole = rows.len() - rows.len() % batch_size;
        for group in rows[..whole].chunks_mut(GROUP * batch_size) {
            group.sort_by_key(|row| self.data.batching_length(*row));
        }
        let mut batches: Vec<Vec<usize>> = rows.chunks(batch_size).map(<[usize]>::to_vec).collect();
        // A smaller last batch stays the last one, which may be left out.
        rng::shuffle(&mut rng::stream(self.seed, "batches", epoch as u64, 0), &mut batches[..whole / batch_size]);
        batches
    }

    /// Trains one step and returns the loss without its L0 term. Epochs and steps are counted from 0. Without a
    /// parameter to train, as with magnitude pruning of a frozen model, a step only computes the loss.
    ///
    /// # Errors
    /// Returns errors of the data set and of the forward pass, and [`TrainError::Circuit`] if the loss does not depend
    /// on a trained parameter although there is one.
    pub fn step(&mut self, epoch: usize, step: usize, rows: &[usize]) -> Result<f64, TrainError> {
        O::circuit_mut(&mut self.module).begin_step(epoch as u64, step as u64);
        let (mut gradients, mut losses) = (GradientsAccumulator::new(), Vec::new());
        for part in rows.chunks(self.schedule.micro_batch.unwrap_or(rows.len())) {
            let batch = self.data.training_batch(part, epoch, &self.device)?;
            let Losses { mut total, mut without_l0 } = self.objective.loss(&self.module, part, &batch)?;
            if part.len() < rows.len() {
                // A loss is a mean over labels, and a row may have several.
                let share = batch.labels.len() as f64 / self.data.labels(rows).len() as f64;
                (total, without_l0) = (total * share, without_l0 * share);
            }
            let loss = Losses { total, without_l0 };
            if self.has_trained {
                gradients.accumulate(&self.module, GradientsParams::from_grads(loss.backward()?, &self.module));
            }
            losses.push(loss.without_l0.detach());
        }
        let learning_rate = self.schedule.optimizer.learning_rate_at(epoch);
        self.module = self.optimizer.step(learning_rate, self.module.clone(), gradients.grads());
        // Reading a loss waits for the device, so it comes last.
        Ok(losses.into_iter().fold(0.0, |sum, loss| sum + loss.into_scalar::<f64>()))
    }

    /// Trains up to the last epoch in an open run folder, with the progress bar `label`. Resumes if the folder has a
    /// checkpoint.
    ///
    /// # Errors
    /// Returns errors of [`Learner::train`].
    pub fn train(
        &mut self,
        run: &Run,
        label: String,
        interrupt: &Interrupt,
    ) -> Result<(Outcome, Vec<Metrics>), TrainError> {
        self.train_to(self.schedule.epochs, run, label, interrupt)
    }

    /// Like [`Self::train`], but stops with a checkpoint after a number of epochs, counted from the first.
    pub(super) fn train_to(
        &mut self,
        epochs: usize,
        run: &Run,
        label: String,
        interrupt: &Interrupt,
    ) -> Result<(Outcome, Vec<Metrics>), TrainError> {
        let checkpoint_every = self.schedule.checkpoint_every;
        Learner { label, epochs, checkpoint_every, interrupt: interrupt.clone() }.train(self, run)
    }
}

impl<P: Probe> Trainer<ProbeObjective<P>> {
    /// Starts with a new probe, after checking that a batch fits into the activation cache.
    ///
    /// # Errors
    /// Returns errors of [`Trainer::new`] and of the data set, and [`TrainError::Probe`] if a batch does not fit.
    pub(super) fn for_probe(
        probe: P,
        activations: ActivationCache,
        data: Arc<dyn Dataset>,
        schedule: Schedule,
        seed: u64,
        device: Device,
    ) -> Result<Self, TrainError> {
        let trainer = Self::new(ProbeObjective::new(activations), probe, data, schedule, seed, device)?;
        let train = &trainer.data.split().train;
        let first = trainer.data.batch(&train[..trainer.schedule.batch_size], &trainer.device)?;
        let (probe, activations) = (&trainer.module, &trainer.objective.activations);
        activations.check(probe.plan(), &probe.circuit().model()?, &first)?;
        Ok(trainer)
    }
}

impl<O: Objective> Trainable for Trainer<O> {
    fn epoch(&mut self, epoch: usize) -> Result<Metrics, TrainError> {
        let temperature = self.schedule.temperature_at(epoch);
        O::circuit_mut(&mut self.module).set_temperature(temperature)?;
        let batches = self.batches(epoch);
        let mut total = 0.0;
        for (step, rows) in batches.iter().enumerate() {
            total += self.step(epoch, step, rows)?;
        }
        let mut metrics = Metrics::new(epoch + 1, total / batches.len() as f64);
        let l0 = self.circuit().l0();
        if l0.max_weights > 0 {
            let (l0, l0_max) = (l0.weights as f64, l0.max_weights as f64);
            metrics = metrics.with("l0", l0).with("l0_max", l0_max).with("temperature", temperature.into());
        }
        if self.schedule.optimizer.warmup_epochs > 0 {
            metrics = metrics.with("learning_rate", self.schedule.optimizer.learning_rate_at(epoch));
        }
        if self.schedule.evaluates_after(epoch) {
            let measured = self.objective.evaluate(&self.module, &*self.data)?;
            metrics = measured.into_iter().fold(metrics, |metrics, (name, value)| metrics.with(name, value));
        }
        Ok(metrics)
    }

    fn records(&self) -> (ModuleRecord, OptimizerRecord) {
        let record = match O::trained(&self.module) {
            Some(trained) => self.module.clone().into_record_group(trained),
            // Batch norms update their running statistics on the switch to evaluation mode.
            None => self.module.valid().into_record(),
        };
        (record, self.optimizer.to_record())
    }

    fn restore(&mut self, module: ModuleRecord, optimizer: OptimizerRecord) -> Result<(), CheckpointerError> {
        let record = module.allow_partial(O::trained(&self.module).is_some());
        self.module = self.module.clone().try_load_record(record).map_err(CheckpointerError::Record)?;
        self.optimizer = self.schedule.optimizer.init().load_record(optimizer);
        Ok(())
    }
}
