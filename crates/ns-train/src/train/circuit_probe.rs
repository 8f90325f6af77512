//! Training of a circuit probe on a variable of an arithmetic task.

use std::path::Path;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Device;
use burn::train::checkpoint::CheckpointerError;
use ns_circuit::{L0Statistics, rng, save_masks};
use ns_models::AnyTransformer;
use ns_probe::{ActivationCache, CircuitProbe};

use super::base_model_pool::{BaseModelPool, DEFAULT_ACTIVATION_CACHE_MB};
use super::{Learner, Outcome, Trainable};
use crate::data::{Examples, Split};
use crate::error::TrainError;
use crate::evaluate::{ProbeEvaluation, ProbeRow};
use crate::recipe::ProbeRecipe;
use crate::run::{Interrupt, Metrics, Run};

/// Training state of a circuit probe.
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
    /// Loads the model and attaches freshly initialised masks to it. `device` must be without autodiff.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for an invalid recipe, [`TrainError::Model`] if the model cannot be loaded, and
    /// [`TrainError::Probe`] if the masks do not fit the model or a batch does not fit into the activation cache.
    pub fn new(recipe: &ProbeRecipe, seed: u64, device: &Device) -> Result<Self, TrainError> {
        Self::on(&BaseModelPool::new(device, DEFAULT_ACTIVATION_CACHE_MB), recipe, seed)
    }

    /// Like [`new`](Self::new), but takes the model from a pool that other probes share.
    ///
    /// # Errors
    /// Returns the errors of [`new`](Self::new). A batch that does not fit into the activation cache of the pool is
    /// [`ns_probe::ProbeError::ActivationCache`].
    pub fn on(pool: &BaseModelPool, recipe: &ProbeRecipe, seed: u64) -> Result<Self, TrainError> {
        recipe.validate()?;
        let device = pool.device().clone().autodiff();
        let key = format!("{} {:?}", recipe.model.display(), recipe.task);
        let (model, activations) = pool.get(key, || Ok(AnyTransformer::load(&recipe.model, &device)?))?;
        let probe = CircuitProbe::new(recipe.probe_config()?, model)?;
        probe.circuit().set_seed(seed);
        let (optimizer, split) = (recipe.optimizer.init(), recipe.task.split());
        let training = Self { recipe: recipe.clone(), seed, device, probe, optimizer, split, activations };
        let first = Examples { pairs: training.split.train.pairs[..recipe.batch_size].into() };
        let (probe, batch) = (&training.probe, recipe.task.probe_batch(recipe.variable, &first, &training.device));
        training.activations.check(probe.plan(), probe.circuit().model()?, &batch)?;
        Ok(training)
    }

    /// Prepares the evaluation of the current probe.
    pub(crate) fn evaluation(&mut self) -> ProbeEvaluation<'_> {
        ProbeEvaluation {
            recipe: &self.recipe,
            split: &self.split,
            seed: self.seed,
            probe: self.probe.valid(),
            device: &self.device,
            activations: &mut self.activations,
        }
    }

    /// The recipe.
    pub fn recipe(&self) -> &ProbeRecipe {
        &self.recipe
    }

    /// Seed of shuffling, noise and sampled masks.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The current probe, in training mode.
    pub fn probe(&self) -> &CircuitProbe<AnyTransformer> {
        &self.probe
    }

    /// The training and test examples.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Number of optimiser steps per epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.split.train.len() / self.recipe.batch_size
    }

    /// Trains one step and returns the loss without its L0 term. Epochs and steps are counted from 0.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if the forward pass fails.
    pub fn step(&mut self, epoch: usize, step: usize, examples: &Examples) -> Result<f64, TrainError> {
        self.probe.circuit().begin_step(epoch as u64, step as u64);
        let batch = self.recipe.task.probe_batch(self.recipe.variable, examples, &self.device);
        let indices = self.recipe.task.places(examples);
        let frozen = self.probe.cached_activations(&mut self.activations, &indices, &batch)?;
        let output = self.probe.forward_from(&frozen, &batch)?;
        let gradients = GradientsParams::from_grads(output.loss.backward(), &self.probe);
        let learning_rate = self.recipe.optimizer.learning_rate_at(epoch);
        self.probe = self.optimizer.step(learning_rate, self.probe.clone(), gradients);
        Ok(output.loss_without_l0.into_scalar())
    }

    /// Returns the shuffled batches of an epoch. They depend only on seed and epoch. An incomplete last batch is
    /// dropped.
    pub fn batches(&self, epoch: usize) -> Vec<Examples> {
        let mut stream = rng::stream(self.seed, "shuffle", epoch as u64, 0);
        let order = rng::permutation(&mut stream, self.split.train.len());
        order.chunks_exact(self.recipe.batch_size).map(|indices| self.split.train.select(indices)).collect()
    }

    /// Temperature of the masks in an epoch, counted from 0. It rises geometrically from 1 to `final_temperature` after
    /// the last epoch.
    pub fn temperature_at(&self, epoch: usize) -> f32 {
        self.recipe.final_temperature.powf(epoch as f64 / self.recipe.epochs as f64) as f32
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
        // The checkpoint has only the mask parameters. The frozen base is loaded from the folder that the recipe names.
        let restored = self.probe.clone().try_load_record(model.allow_partial(true));
        self.probe = restored.map_err(CheckpointerError::Record)?;
        self.optimizer = self.recipe.optimizer.init().load_record(optimizer);
        Ok(())
    }
}

/// Results of a trained and evaluated circuit probe.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// The evaluation of the trained probe.
    pub row: ProbeRow,
    /// Training metrics, one entry per epoch.
    pub metrics: Vec<Metrics>,
    /// Size of the circuit, in total and per layer.
    pub l0: L0Statistics,
}

/// Trains a circuit probe in a run folder and evaluates it. Resumes if the folder has a checkpoint.
///
/// A finished run writes `masks.safetensors` and `probe_config.json` to the folder. Returns `None` if the run was
/// interrupted. An invalid recipe is rejected before anything is written.
///
/// # Errors
/// Returns errors of [`ProbeTraining::on`], [`Run::open`], [`Learner::train`] and of the evaluation.
pub fn train_probe(
    recipe: &ProbeRecipe,
    seed: u64,
    folder: &Path,
    pool: &BaseModelPool,
    interrupt: &Interrupt,
) -> Result<Option<ProbeReport>, TrainError> {
    let mut training = ProbeTraining::on(pool, recipe, seed)?;
    let run = Run::open(folder, recipe, seed)?;
    let learner = Learner {
        label: format!("{} in {}, seed {seed}", recipe.variable, recipe.probe_vectors),
        epochs: recipe.epochs,
        checkpoint_every: recipe.checkpoint_every,
        interrupt: interrupt.clone(),
    };
    let (outcome, metrics) = learner.train(&mut training, &run)?;
    if outcome != Outcome::Finished {
        return Ok(None);
    }
    save_masks(run.path("masks.safetensors"), training.probe().circuit())?;
    let mut config = recipe.probe_config()?;
    let circuit = training.probe().circuit();
    config.circuit_config = circuit.config().clone();
    config.resid_config = config.resid_config.named_for(circuit.wrapped());
    run.write("probe_config.json", &format!("{:#}\n", serde_json::json!(config)))?;
    let row = training.evaluation().row()?;
    Ok(Some(ProbeReport { row, metrics, l0: training.probe().circuit().l0() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Arithmetic, Operation, Variable};
    use crate::recipe::{EvaluationRecipe, OptimizerRecipe};
    use crate::run::run_parallel;
    use crate::train::initialize;
    use ns_circuit::{CircuitConfig, MaskUnit};
    use ns_models::{Gpt2, Gpt2Config, Pretrained};
    use ns_probe::ProbeLoss;

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

    /// A recipe for a model of two blocks, with masks on layers of the second block.
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
            let train = |activations: ActivationCache| {
                let mut training =
                    ProbeTraining { activations, ..ProbeTraining::new(&recipe, 0, &Device::default()).unwrap() };
                let losses: Vec<u64> = (0..3).map(|epoch| training.epoch(epoch).unwrap().loss.to_bits()).collect();
                let (examples, used) = (training.split.test.clone(), training.activations.used());
                let vectors = training.evaluation().vectors(&examples, true).unwrap().into_data();
                let unmasked = training.evaluation().vectors(&examples, false).unwrap().into_data();
                (losses, training.probe.circuit().mask_params(), vectors, unmasked, used)
            };
            let off = train(ActivationCache::with_megabytes(0));
            let (full, partial) = (train(ActivationCache::with_megabytes(1)), train(ActivationCache::with_bytes(3000)));
            assert!(off.4 == 0 && full.4 > partial.4 && (2000..=3000).contains(&partial.4), "{site}: {}", partial.4);
            for on in [full, partial] {
                assert_eq!(on.0, off.0, "{site}");
                assert_eq!(on.1, off.1, "{site}");
                assert_eq!((on.2, on.3), (off.2.clone(), off.3.clone()), "{site}");
            }
        }
    }

    #[test]
    fn parallel_probes_on_one_base_equal_probes_trained_alone() {
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
        for pool in [1, 0].map(|megabytes| BaseModelPool::new(&Device::default(), megabytes)) {
            let work = |(recipe, seed): &(&ProbeRecipe, u64), _: &Interrupt| {
                Ok(masks(ProbeTraining::on(&pool, recipe, *seed)?))
            };
            let check = |job: usize, found| {
                let (recipe, seed) = jobs[job];
                let alone = masks(ProbeTraining::new(recipe, seed, &Device::default())?);
                assert_eq!(found, alone, "{} with seed {seed}", recipe.probe_vectors);
                Ok::<_, TrainError>(())
            };
            run_parallel(2, &Interrupt::default(), &jobs, work, check).unwrap();
        }
    }

    #[test]
    fn an_activation_cache_too_small_for_a_batch_is_an_error() {
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
        assert!(with(&recipe, 1).is_none(), "embeddings are not cached");
        recipe.circuit_config = layers("transformer.h.1.attn.c_attn");
        recipe.probe_vectors = "attn_update_1".into();
        let message = with(&recipe, 1).unwrap().to_string();
        assert!(message.contains("1 MB") && message.contains("one batch, which needs 4 MB"), "{message}");
        assert!(with(&recipe, 4).is_none() && with(&recipe, 0).is_none());
    }

    #[test]
    fn a_batch_larger_than_the_split_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = training(folder.path(), 21).err().unwrap();
        assert_eq!(
            error.to_string(),
            "batch_size is 21, but there are 20 training examples; it must be between 1 and 20"
        );
    }
}
