//! Training steps of a circuit probe on a model with fresh weights, for timing.

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
/// Classes of the labels: singular and plural.
const CLASSES: usize = 2;

/// What a step works on.
#[derive(Clone, Debug)]
pub struct ProbeBenchConfig {
    /// The model, as its `config.json`; it reads tokens.
    pub model: Value,
    /// Where it is probed.
    pub probe_vectors: String,
    /// The masks.
    pub circuit_config: CircuitConfig,
    /// Sequences a step.
    pub batch: usize,
    /// Tokens of a sequence; one of them is read.
    pub seq: usize,
    /// Steps an epoch: so many batches of different sequences.
    pub steps_per_epoch: usize,
    /// Memory for frozen activations.
    pub activation_cache_mb: usize,
}

/// A probe on random sequences.
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
    /// The probe; `device` is without autodiff.
    ///
    /// # Errors
    /// Those of the model, the masks and the probe.
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

    /// Milliseconds of the next step: batch, frozen activations, forward, loss, backward and optimiser.
    ///
    /// # Errors
    /// Those of the probe.
    ///
    /// # Panics
    /// When the device cannot execute what it was given, as every read of Burn's does.
    pub fn step(&mut self) -> Result<f64, TrainError> {
        let (epoch, place) = (self.step / self.config.steps_per_epoch, self.step % self.config.steps_per_epoch);
        self.step += 1;
        let start = Instant::now();
        self.probe.circuit().begin_step(epoch as u64, place as u64);
        let examples = self.examples(epoch, place);
        let batch = self.batch(&examples);
        let frozen = self.probe.cached_activations(&mut self.activations, &examples, &batch)?;
        let output = self.probe.forward_from(&frozen, &batch)?;
        let gradients = GradientsParams::from_grads(output.loss.backward(), &self.probe);
        self.probe = self.optimizer.step(self.recipe.learning_rate_at(epoch), self.probe.clone(), gradients);
        self.device.sync().unwrap_or_else(|error| panic!("the device cannot finish a step: {error}"));
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// Sequences of a step, shuffled anew in each epoch.
    fn examples(&self, epoch: usize, place: usize) -> Vec<usize> {
        let (batch, mut stream) = (self.config.batch, rng::stream(SEED, "shuffle", epoch as u64, 0));
        let order = rng::permutation(&mut stream, batch * self.config.steps_per_epoch);
        order[place * batch..(place + 1) * batch].to_vec()
    }

    /// Ids and the token that is read are functions of the sequence.
    fn batch(&self, examples: &[usize]) -> ProbeBatch {
        let (seq, vocab) = (self.config.seq, self.vocab);
        let of_sequence = |example: &usize| {
            let first = example * seq;
            (first..first + seq).map(move |place| (place * 7919 % vocab) as i64)
        };
        let ids: Vec<i64> = examples.iter().flat_map(of_sequence).collect();
        let read = |example: &usize| {
            let read = example * 5 % seq;
            (0..seq).map(move |place| place == read)
        };
        ProbeBatch {
            inputs: ModelInputs::new(Tensor::from_data(TensorData::new(ids, [examples.len(), seq]), &self.device)),
            token_mask: examples.iter().flat_map(read).collect(),
            labels: examples.iter().map(|example| (example / seq % CLASSES) as i64).collect(),
        }
    }
}
