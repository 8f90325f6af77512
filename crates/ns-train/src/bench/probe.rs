//! Timing of circuit-probe training steps on a model with random weights.

use std::time::Instant;

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::{CircuitConfig, rng};
use ns_models::{AnyTransformer, ModelInputs};
use ns_probe::{ActivationCache, CircuitProbe, CircuitProbeConfig, ProbeBatch, ProbeLoss, ResidualUpdateModelConfig};
use serde_json::Value;

use crate::error::TrainError;
use crate::recipe::OptimizerRecipe;
use crate::train::initialize;

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

/// Times training steps of a circuit probe on synthetic sequences.
pub struct ProbeBench {
    config: ProbeBenchConfig,
    probe: CircuitProbe<AnyTransformer>,
    optimizer: ModuleOptimizer,
    recipe: OptimizerRecipe,
    activations: ActivationCache,
    vocab: usize,
    device: Device,
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
        let probe_config = CircuitProbeConfig {
            probe_vectors: config.probe_vectors.clone(),
            circuit_config: config.circuit_config.clone(),
            resid_config: ResidualUpdateModelConfig::from_site(config.probe_vectors.parse()?)?,
            loss: ProbeLoss::Contrastive,
        };
        let probe = CircuitProbe::new(probe_config, model)?;
        let (recipe, activations) =
            (OptimizerRecipe::default(), ActivationCache::with_megabytes(config.activation_cache_mb));
        let vocab = config.model["vocab_size"].as_u64().unwrap_or(1) as usize;
        Ok(Self { optimizer: recipe.init(), config, probe, recipe, activations, vocab, device, step: 0 })
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
        let (epoch, index) = (self.step / self.config.steps_per_epoch, self.step % self.config.steps_per_epoch);
        self.step += 1;
        let start = Instant::now();
        self.probe.circuit().begin_step(epoch as u64, index as u64);
        let examples = self.examples(epoch, index);
        let batch = self.batch(&examples);
        let frozen = self.probe.cached_activations(&mut self.activations, &examples, &batch)?;
        let output = self.probe.forward_from(&frozen, &batch)?;
        let gradients = GradientsParams::from_grads(output.loss.backward(), &self.probe);
        self.probe = self.optimizer.step(self.recipe.learning_rate_at(epoch), self.probe.clone(), gradients);
        self.device.sync().unwrap_or_else(|error| panic!("the device failed during a step: {error}"));
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// Indices of the sequences of a step. The order is shuffled in each epoch.
    fn examples(&self, epoch: usize, index: usize) -> Vec<usize> {
        let (batch, mut stream) = (self.config.batch, rng::stream(SEED, "shuffle", epoch as u64, 0));
        let order = rng::permutation(&mut stream, batch * self.config.steps_per_epoch);
        order[index * batch..(index + 1) * batch].to_vec()
    }

    /// Builds the batch of some sequences. Token ids, selected token and label depend only on the index of the
    /// sequence.
    fn batch(&self, examples: &[usize]) -> ProbeBatch {
        let (seq, vocab) = (self.config.seq, self.vocab);
        let tokens = |example: &usize| {
            let first = example * seq;
            (first..first + seq).map(move |index| (index * 7919 % vocab) as i64)
        };
        let ids: Vec<i64> = examples.iter().flat_map(tokens).collect();
        let token_mask = |example: &usize| {
            let selected = example * 5 % seq;
            (0..seq).map(move |token| token == selected)
        };
        ProbeBatch {
            inputs: ModelInputs::new(Tensor::from_data(TensorData::new(ids, [examples.len(), seq]), &self.device)),
            token_mask: examples.iter().flat_map(token_mask).collect(),
            labels: examples.iter().map(|example| (example / seq % CLASSES) as i64).collect(),
        }
    }
}
