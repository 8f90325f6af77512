//! Timing of circuit-probe training steps.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::CircuitConfig;
use ns_models::{AnyTransformer, ModelInputs};
use ns_probe::{ActivationCache, CircuitProbe, CircuitProbeConfig, ProbeBatch, ProbeLoss, ResidualUpdateModelConfig};
use serde_json::Value;

use super::StepTimes;
use crate::data::{Dataset, LabelledRows, RowSplit};
use crate::error::TrainError;
use crate::recipe::{OptimizerRecipe, Schedule};
use crate::train::{BaseModelPool, Job, ProbeObjective, ProbeTraining, Trainer, initialize};

const SEED: u64 = 0;
/// Number of classes: singular and plural.
const CLASSES: usize = 2;

/// Model, probe and batch of a [`ProbeBench`].
#[derive(Clone, Debug)]
pub struct ProbeBenchConfig {
    /// `config.json` of the model. Its inputs must be tokens.
    pub model: Value,
    /// The probed site, e.g. `attn_update_1`.
    pub probe_vectors: String,
    /// The masks.
    pub circuit_config: CircuitConfig,
    /// Sequences per step.
    pub batch: usize,
    /// Tokens per sequence. The probe reads one of them.
    pub seq: usize,
    /// Steps per epoch. Each step of an epoch has other sequences.
    pub steps_per_epoch: usize,
    /// Size of the activation cache in megabytes of 2²⁰ bytes; 0 turns it off.
    pub activation_cache_mb: usize,
}

/// Synthetic sequences of tokens. Token ids, read token and label depend only on the index of the sequence.
struct Sequences {
    rows: LabelledRows,
    seq: usize,
    vocab: usize,
}

impl Sequences {
    fn new(config: &ProbeBenchConfig) -> Self {
        let (seq, train) = (config.seq, 0..config.batch * config.steps_per_epoch);
        let labels = train.clone().map(|row| row / seq % CLASSES).collect();
        let split = RowSplit { train: train.collect(), ..RowSplit::default() };
        Self {
            rows: LabelledRows { labels, n_answers: CLASSES, split, ..LabelledRows::default() },
            seq,
            vocab: config.model["vocab_size"].as_u64().unwrap_or(1) as usize,
        }
    }
}

impl Dataset for Sequences {
    fn rows(&self) -> &LabelledRows {
        &self.rows
    }

    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError> {
        let (seq, vocab) = (self.seq, self.vocab);
        let tokens = |row: &usize| (row * seq..(row + 1) * seq).map(move |index| (index * 7919 % vocab) as i64);
        let ids: Vec<i64> = rows.iter().flat_map(tokens).collect();
        let token_mask = |row: &usize| {
            let read = row * 5 % seq;
            (0..seq).map(move |token| token == read)
        };
        Ok(ProbeBatch {
            inputs: ModelInputs::new(Tensor::from_data(TensorData::new(ids, [rows.len(), seq]), device)),
            token_mask: rows.iter().flat_map(token_mask).collect(),
            labels: self.labels(rows),
            means: Vec::new(),
        })
    }
}

/// Times training steps of a circuit probe, on synthetic sequences or on the data of a recipe.
pub struct ProbeBench {
    trainer: ProbeTraining,
    device: Device,
    /// The batches of the current epoch.
    batches: Vec<Vec<usize>>,
    step: usize,
}

impl ProbeBench {
    /// Creates the model, the masks and the probe. `device` must be without autodiff.
    ///
    /// # Errors
    /// Returns [`TrainError::Model`] if the model's configuration is invalid, and [`TrainError::Probe`] if the masks or
    /// the probed site do not fit the model.
    pub fn new(config: ProbeBenchConfig, device: &Device) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let model = initialize(AnyTransformer::init(&config.model, &device)?, SEED);
        let data = Sequences::new(&config);
        let schedule = Schedule {
            epochs: 1,
            evaluate_every: 1,
            checkpoint_every: 1,
            batch_size: config.batch,
            drop_last: true,
            micro_batch: None,
            final_temperature: 1.0,
            optimizer: OptimizerRecipe::default(),
        };
        let activations = ActivationCache::with_megabytes(config.activation_cache_mb);
        let probe_config = CircuitProbeConfig {
            resid_config: ResidualUpdateModelConfig::from_site(config.probe_vectors.parse()?)?,
            probe_vectors: config.probe_vectors,
            circuit_config: config.circuit_config,
            loss: ProbeLoss::Contrastive,
        };
        let (probe, objective) = (CircuitProbe::new(probe_config, model)?, ProbeObjective::new(activations));
        let trainer = Trainer::new(objective, probe, Arc::new(data), schedule, SEED, device.clone())?;
        Ok(Self::from_trainer(trainer, device))
    }

    fn from_trainer(trainer: ProbeTraining, device: Device) -> Self {
        Self { trainer, device, batches: Vec::new(), step: 0 }
    }

    /// Trains the next step and returns its time in milliseconds. A step builds the batch, gets the frozen activations,
    /// and runs the forward pass, the backward pass and the optimiser.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if the forward pass fails.
    ///
    /// # Panics
    /// Panics if the device fails during the step, e.g. if it runs out of memory.
    pub fn step(&mut self) -> Result<f64, TrainError> {
        let per_epoch = self.trainer.steps_per_epoch();
        let (epoch, index) = (self.step / per_epoch, self.step % per_epoch);
        self.step += 1;
        if index == 0 {
            self.batches = self.trainer.batches(epoch);
        }
        let start = Instant::now();
        self.trainer.step(epoch, index, &self.batches[index])?;
        self.device.sync().unwrap_or_else(|error| panic!("the device failed during a step: {error}"));
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

/// Trains the circuit probe of a run for `warmup + steps` steps and times the last `steps` as [`ProbeBench::step`]
/// does.
///
/// # Errors
/// Returns errors of [`Job::probe_training`] and [`ProbeBench::step`].
pub fn time_probe_steps(
    job: &Job,
    steps: usize,
    warmup: usize,
    activation_cache_mb: usize,
    device: &Device,
) -> Result<StepTimes, TrainError> {
    let training = job.probe_training(&BaseModelPool::new(device, activation_cache_mb))?;
    let mut bench = ProbeBench::from_trainer(training, device.clone());
    let mut milliseconds = (0..warmup + steps).map(|_| bench.step()).collect::<Result<Vec<_>, _>>()?;
    milliseconds.drain(..warmup);
    Ok(StepTimes { milliseconds })
}
