//! Training a circuit probe on a variable of an arithmetic task.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};
use burn::train::checkpoint::CheckpointerError;
use ns_circuit::{CircuitConfig, rng};
use ns_models::{AnyTransformer, Site, Sublayer};
use ns_probe::{ActivationCache, CircuitProbe, CircuitProbeConfig, ProbeBatch, ProbeLoss, ResidualUpdateModelConfig};
use serde::{Deserialize, Serialize};

use crate::{
    Arithmetic, BaseModelPool, Examples, Metrics, OptimizerRecipe, Split, TrainError, Trainable, Variable,
    task_recipe::resolve_beside,
};

/// Rows that evaluation runs at once.
pub(crate) const EVALUATION_BATCH: usize = 1024;
/// Megabytes of frozen activations that training keeps unless it is told otherwise.
pub const DEFAULT_ACTIVATION_CACHE_MB: usize = 1024;

/// Recipe that trains and evaluates a circuit probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeRecipe {
    /// Folder of the model; relative to the recipe.
    pub model: PathBuf,
    /// What is looked for.
    pub variable: Variable,
    /// Where, e.g. `attn_update_0`.
    pub probe_vectors: String,
    /// What pulls vectors together.
    #[serde(default)]
    pub loss: ProbeLoss,
    /// Passes over the training split.
    pub epochs: usize,
    /// Epochs between two checkpoints.
    pub checkpoint_every: usize,
    /// Examples a step; a last short batch is dropped.
    pub batch_size: usize,
    /// Temperature after the last epoch; it starts at 1 and grows by the same factor after each.
    pub final_temperature: f64,
    /// The data, split as the model's was.
    pub task: Arithmetic,
    /// The optimiser of the masks.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// How the circuit is judged.
    #[serde(default)]
    pub evaluation: EvaluationRecipe,
    /// The masks.
    pub circuit_config: CircuitConfig,
}

/// How a circuit is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationRecipe {
    /// Training vectors of each class that 1-NN remembers.
    pub memory_per_class: usize,
    /// Random masks of the circuit's size that are ablated for comparison.
    pub controls: usize,
}

impl Default for EvaluationRecipe {
    fn default() -> Self {
        Self { memory_per_class: 1, controls: 5 }
    }
}

impl ProbeRecipe {
    /// Makes the model's folder relative to the recipe's; what is no folder there may be a name in the Hub's cache.
    ///
    /// # Errors
    /// [`ns_models::ModelError::ModelNotFound`].
    pub fn resolve(self, recipe: &Path) -> Result<Self, TrainError> {
        Ok(Self { model: resolve_beside(recipe, &self.model)?, ..self })
    }

    /// The probe's configuration.
    ///
    /// # Errors
    /// [`ns_models::ModelError::NoSuchSite`], [`ns_probe::ProbeError::Config`].
    pub fn probe_config(&self) -> Result<CircuitProbeConfig, TrainError> {
        Ok(CircuitProbeConfig {
            probe_vectors: self.probe_vectors.clone(),
            circuit_config: self.circuit_config.clone(),
            resid_config: ResidualUpdateModelConfig::from_site(self.probe_vectors.parse::<Site>()?)?,
            loss: self.loss,
        })
    }

    /// `attn` or `mlp`.
    pub fn block(&self) -> String {
        match self.probe_vectors.parse() {
            Ok(Site::Block { sublayer: Sublayer::Attn, .. }) => "attn".into(),
            Ok(Site::Block { sublayer: Sublayer::Mlp, .. }) => "mlp".into(),
            _ => self.probe_vectors.clone(),
        }
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`TrainError::Setting`].
    pub fn validate(&self) -> Result<(), TrainError> {
        self.task.validate()?;
        let setting = |setting, found: String, expected: &str| {
            Err(TrainError::Setting { setting, found, expected: expected.into() })
        };
        let examples = self.task.split().train.len();
        if self.batch_size == 0 || self.batch_size > examples {
            let expected = format!("there are {examples} training examples");
            return setting("batch_size", self.batch_size.to_string(), &expected);
        }
        if !(self.final_temperature.is_finite() && self.final_temperature > 0.0) {
            return setting("final_temperature", self.final_temperature.to_string(), "it must be positive");
        }
        if self.epochs == 0 {
            return setting("epochs", "0".into(), "it must be at least 1");
        }
        if self.circuit_config.target_layers.is_empty() {
            return setting("circuit_config.target_layers", "empty".into(), "a circuit lies in at least one layer");
        }
        Ok(())
    }
}

/// A circuit probe on its way.
pub struct ProbeTraining {
    recipe: ProbeRecipe,
    seed: u64,
    device: Device,
    probe: CircuitProbe<AnyTransformer>,
    optimizer: ModuleOptimizer,
    split: Split,
    activations: ActivationCache,
}

impl ProbeTraining {
    /// Loads the model and puts fresh masks on it; `device` is without autodiff.
    ///
    /// # Errors
    /// [`TrainError::Setting`], and those of the model and the probe.
    pub fn new(recipe: &ProbeRecipe, seed: u64, device: &Device) -> Result<Self, TrainError> {
        Self::on(&BaseModelPool::new(device, DEFAULT_ACTIVATION_CACHE_MB), recipe, seed)
    }

    /// The same on a base that other probes may share.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`ns_probe::ProbeError::ActivationCache`] when a batch does not fit.
    pub fn on(bases: &BaseModelPool, recipe: &ProbeRecipe, seed: u64) -> Result<Self, TrainError> {
        recipe.validate()?;
        let device = bases.device().clone().autodiff();
        let key = format!("{} {:?}", recipe.model.display(), recipe.task);
        let (model, activations) = bases.get(key, || Ok(AnyTransformer::load(&recipe.model, &device)?))?;
        let probe = CircuitProbe::new(recipe.probe_config()?, model)?;
        probe.circuit().set_seed(seed);
        let (optimizer, split) = (recipe.optimizer.init(), recipe.task.split());
        let training = Self { recipe: recipe.clone(), seed, device, probe, optimizer, split, activations };
        let first = Examples { pairs: training.split.train.pairs[..recipe.batch_size].into() };
        let (probe, batch) = (&training.probe, training.batch(&first));
        training.activations.check(probe.plan(), probe.circuit().model()?, &batch)?;
        Ok(training)
    }

    /// The frozen activations that it keeps.
    pub(crate) fn activation_cache_mut(&mut self) -> &mut ActivationCache {
        &mut self.activations
    }

    /// The recipe.
    pub fn recipe(&self) -> &ProbeRecipe {
        &self.recipe
    }

    /// Seed of shuffles, noise and draws.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The probe as it is now, in training mode.
    pub fn probe(&self) -> &CircuitProbe<AnyTransformer> {
        &self.probe
    }

    /// The data.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Steps an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.split.train.len() / self.recipe.batch_size
    }

    /// One step; gives the loss without its L0 term.
    ///
    /// # Errors
    /// Those of the probe.
    pub fn step(&mut self, epoch: usize, step: usize, examples: &Examples) -> Result<f64, TrainError> {
        self.probe.circuit().begin_step(epoch as u64, step as u64);
        let (batch, places) = (self.batch(examples), self.recipe.task.places(examples));
        let frozen = self.probe.cached_activations(&mut self.activations, &places, &batch)?;
        let output = self.probe.forward_from(&frozen, &batch)?;
        let gradients = GradientsParams::from_grads(output.loss.backward(), &self.probe);
        let learning_rate = self.recipe.optimizer.learning_rate_at(epoch);
        self.probe = self.optimizer.step(learning_rate, self.probe.clone(), gradients);
        Ok(output.loss_without_l0.into_scalar())
    }

    /// The batches of an epoch: a function of seed and epoch alone.
    pub fn batches(&self, epoch: usize) -> Vec<Examples> {
        let mut stream = rng::stream(self.seed, "shuffle", epoch as u64, 0);
        let order = rng::permutation(&mut stream, self.split.train.len());
        order.chunks_exact(self.recipe.batch_size).map(|places| self.split.train.select(places)).collect()
    }

    /// Temperature in an epoch, counted from 0.
    pub fn temperature_at(&self, epoch: usize) -> f32 {
        self.recipe.final_temperature.powf(epoch as f64 / self.recipe.epochs as f64) as f32
    }

    /// Vectors of some examples at the probed site, of the circuit in evaluation mode or of the whole model,
    /// `[n, hidden]`.
    ///
    /// # Errors
    /// Those of the probe.
    pub fn evaluation_vectors(&mut self, examples: &Examples, masked: bool) -> Result<Tensor<2>, TrainError> {
        let probe = self.probe.valid();
        let mut vectors = Vec::new();
        for pairs in examples.pairs.chunks(EVALUATION_BATCH) {
            let examples = Examples { pairs: pairs.into() };
            let (batch, places) = (self.batch(&examples), self.recipe.task.places(&examples));
            let frozen = probe.cached_activations(&mut self.activations, &places, &batch)?;
            vectors.push(match masked {
                true => probe.vectors_from(&frozen, &batch)?,
                false => probe.unmasked_vectors_from(&frozen, &batch)?,
            });
        }
        Ok(Tensor::cat(vectors, 0))
    }

    /// Inputs, labels, and a token mask that selects the last token.
    fn batch(&self, examples: &Examples) -> ProbeBatch {
        let task = self.recipe.task;
        let context = task.context();
        ProbeBatch {
            inputs: task.inputs(examples, &self.device),
            token_mask: (0..examples.len() * context).map(|place| place % context == context - 1).collect(),
            labels: task.labels(self.recipe.variable, examples),
        }
    }
}

impl Trainable for ProbeTraining {
    fn epoch(&mut self, epoch: usize) -> Result<Metrics, TrainError> {
        let temperature = self.temperature_at(epoch);
        self.probe.circuit().set_temperature(temperature)?;
        let batches = self.batches(epoch);
        let mut total = 0.0;
        for (step, examples) in batches.iter().enumerate() {
            total += self.step(epoch, step, examples)?;
        }
        let l0 = self.probe.circuit().l0();
        let metrics = Metrics::new(epoch + 1, total / batches.len() as f64);
        Ok(metrics.with("l0", l0.total).with("l0_max", l0.max).with("temperature", f64::from(temperature)))
    }

    fn records(&self) -> (ModuleRecord, OptimizerRecord) {
        let masks = self.probe.circuit().mask_parameters();
        (self.probe.clone().into_record_group(masks), self.optimizer.to_record())
    }

    fn restore(&mut self, model: ModuleRecord, optimizer: OptimizerRecord) -> Result<(), CheckpointerError> {
        // The frozen base is not in the checkpoint: it is the model that the recipe names.
        let restored = self.probe.clone().try_load_record(model.allow_partial(true));
        self.probe = restored.map_err(CheckpointerError::Record)?;
        self.optimizer = self.recipe.optimizer.init().load_record(optimizer);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interrupt, Operation, initialize::initialize, run_parallel};
    use ns_circuit::MaskUnit;
    use ns_models::{Gpt2, Gpt2Config, Pretrained};

    fn training(folder: &Path, batch_size: usize) -> Result<ProbeTraining, TrainError> {
        let config =
            Gpt2Config { vocab_size: 6, n_positions: 3, n_embd: 8, n_layer: 1, n_head: 2, ..Default::default() };
        Gpt2::init(&config, &Device::default())?.save(folder)?;
        ProbeTraining::new(&recipe(folder, batch_size), 0, &Device::default())
    }

    fn recipe(folder: &Path, batch_size: usize) -> ProbeRecipe {
        ProbeRecipe {
            model: folder.into(),
            variable: Variable::A2,
            probe_vectors: "attn_update_0".into(),
            loss: ProbeLoss::Contrastive,
            epochs: 2,
            checkpoint_every: 1,
            batch_size,
            final_temperature: 100.0,
            task: Arithmetic { modulus: 5, operation: Operation::Sum, train_fraction: 0.8, split_seed: 0 },
            optimizer: OptimizerRecipe::default(),
            evaluation: EvaluationRecipe::default(),
            circuit_config: CircuitConfig {
                target_layers: vec!["transformer.h.0.attn.c_attn".into()],
                ..CircuitConfig::default()
            },
        }
    }

    #[test]
    fn the_last_short_batch_is_dropped_and_epochs_shuffle_anew() {
        let folder = tempfile::tempdir().unwrap();
        let training = training(folder.path(), 6).unwrap();
        let (first, second) = (training.batches(0), training.batches(1));
        assert_eq!(first.iter().map(Examples::len).collect::<Vec<_>>(), [6, 6, 6]);
        assert_ne!(first, second);
        assert_eq!(first, training.batches(0));
    }

    #[test]
    fn temperature_grows_by_the_same_factor_after_each_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let training = training(folder.path(), 6).unwrap();
        assert_eq!([0, 1, 2].map(|epoch| training.temperature_at(epoch)), [1.0, 10.0, 100.0]);
    }

    /// A recipe for two blocks, with masks on layers of the second.
    fn recipe_of_two_blocks(folder: &Path, site: &str, layers: &[&str]) -> ProbeRecipe {
        let config =
            Gpt2Config { vocab_size: 14, n_positions: 3, n_embd: 16, n_layer: 2, n_head: 2, ..Default::default() };
        let model = AnyTransformer::from(Gpt2::init(&config, &Device::default()).unwrap());
        initialize(model, 3).save(folder).unwrap();
        let names = layers.iter().map(|layer| format!("transformer.h.1.{layer}"));
        ProbeRecipe {
            task: Arithmetic { modulus: 13, operation: Operation::Sum, train_fraction: 0.7, split_seed: 0 },
            probe_vectors: site.into(),
            epochs: 3,
            batch_size: 16,
            circuit_config: CircuitConfig { target_layers: names.collect(), ..CircuitConfig::default() },
            ..recipe(folder, 16)
        }
    }

    #[test]
    fn activations_that_are_kept_change_no_bit() {
        let folder = tempfile::tempdir().unwrap();
        let probes: [(&str, &[&str]); 4] = [
            ("attn_update_1", &["attn.c_attn", "attn.c_proj"]),
            ("mlp_update_1", &["mlp.c_fc", "mlp.c_proj"]),
            ("mlp_stream_1", &["attn.c_attn", "mlp.c_proj"]),
            ("mlp_stream_1", &["mlp.c_proj"]),
        ];
        for (site, layers) in probes {
            let recipe = recipe_of_two_blocks(folder.path(), site, layers);
            let trained = |activations: ActivationCache| {
                let mut training =
                    ProbeTraining { activations, ..ProbeTraining::new(&recipe, 0, &Device::default()).unwrap() };
                let losses: Vec<u64> = (0..3).map(|epoch| training.epoch(epoch).unwrap().loss.to_bits()).collect();
                let (examples, used) = (training.split.test.clone(), training.activations.used());
                let vectors = training.evaluation_vectors(&examples, true).unwrap().into_data();
                let unmasked = training.evaluation_vectors(&examples, false).unwrap().into_data();
                (losses, training.probe.circuit().mask_params(), vectors, unmasked, used)
            };
            let without = trained(ActivationCache::with_megabytes(0));
            let (all, some) = (trained(ActivationCache::with_megabytes(1)), trained(ActivationCache::with_bytes(3000)));
            assert!(without.4 == 0 && all.4 > some.4 && (2000..=3000).contains(&some.4), "{site}: {}", some.4);
            for with in [all, some] {
                assert_eq!(with.0, without.0, "{site}");
                assert_eq!(with.1, without.1, "{site}");
                assert_eq!((with.2, with.3), (without.2.clone(), without.3.clone()), "{site}");
            }
        }
    }

    #[test]
    fn probes_side_by_side_on_one_base_are_what_they_are_alone() {
        let folder = tempfile::tempdir().unwrap();
        let neurons = |site: &str, layer: &str| {
            let mut recipe = recipe_of_two_blocks(folder.path(), site, &[layer]);
            recipe.circuit_config.mask_unit = MaskUnit::Neuron;
            recipe
        };
        let weights = recipe_of_two_blocks(folder.path(), "mlp_stream_1", &["mlp.c_proj"]);
        let recipes = [neurons("attn_update_1", "attn.c_attn"), weights, neurons("mlp_update_1", "mlp.c_fc")];
        let jobs: Vec<_> = recipes.iter().flat_map(|recipe| [(recipe, 0), (recipe, 1)]).collect();
        let masks = |mut training: ProbeTraining| {
            (0..2).for_each(|epoch| assert!(training.epoch(epoch).unwrap().loss.is_finite()));
            training.probe.circuit().mask_params()
        };
        for bases in [1, 0].map(|megabytes| BaseModelPool::new(&Device::default(), megabytes)) {
            let work = |(recipe, seed): &(&ProbeRecipe, u64), _: &Interrupt| {
                Ok(masks(ProbeTraining::on(&bases, recipe, *seed)?))
            };
            let same = |place: usize, found| {
                let (recipe, seed) = jobs[place];
                let alone = masks(ProbeTraining::new(recipe, seed, &Device::default())?);
                assert_eq!(found, alone, "{} with seed {seed}", recipe.probe_vectors);
                Ok::<_, TrainError>(())
            };
            run_parallel(2, &Interrupt::default(), &jobs, work, same).unwrap();
        }
    }

    #[test]
    fn a_activation_cache_that_cannot_hold_a_batch_says_what_one_needs() {
        let folder = tempfile::tempdir().unwrap();
        let config =
            Gpt2Config { vocab_size: 114, n_positions: 3, n_embd: 64, n_layer: 2, n_head: 2, ..Default::default() };
        Gpt2::init(&config, &Device::default()).unwrap().save(folder.path()).unwrap();
        let mut recipe = recipe(folder.path(), 5000);
        recipe.task.modulus = 113;
        let layers = |layer: &str| CircuitConfig { target_layers: vec![layer.into()], ..CircuitConfig::default() };
        let with = |recipe: &ProbeRecipe, megabytes| {
            ProbeTraining::on(&BaseModelPool::new(&Device::default(), megabytes), recipe, 0).err()
        };
        assert!(with(&recipe, 1).is_none(), "embeddings are not kept");
        recipe.circuit_config = layers("transformer.h.1.attn.c_attn");
        recipe.probe_vectors = "attn_update_1".into();
        let message = with(&recipe, 1).unwrap().to_string();
        assert!(message.contains("1 MB") && message.contains("the 4 MB of one batch"), "{message}");
        assert!(with(&recipe, 4).is_none() && with(&recipe, 0).is_none());
    }

    #[test]
    fn a_batch_larger_than_the_split_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = training(folder.path(), 21).err().unwrap();
        assert_eq!(error.to_string(), "batch_size is 21, but there are 20 training examples");
    }
}
