//! Training of a circuit probe on a variable of an arithmetic task.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use ns_circuit::{L0Statistics, save_masks};
use ns_models::AnyTransformer;
use ns_probe::CircuitProbe;

use super::base_model_pool::BaseModelPool;
use super::learner::Outcome;
use super::objective::ProbeObjective;
use super::trainer::Trainer;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::evaluate::{ProbeEvaluation, ProbeRow, SupportSets};
use crate::recipe::ProbeRecipe;
use crate::run::{Interrupt, Metrics};

/// Training state of a circuit probe.
pub type ProbeTraining = Trainer<ProbeObjective<CircuitProbe<AnyTransformer>>>;

impl ProbeTraining {
    /// Takes the model from a pool that other probes share, and attaches freshly initialised masks to it.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for an invalid recipe, [`TrainError::Model`] if the model cannot be loaded, and
    /// [`TrainError::Probe`] if the masks do not fit the model or a batch does not fit into the activation cache of the
    /// pool.
    pub fn from_recipe(pool: &BaseModelPool, recipe: &ProbeRecipe, seed: u64) -> Result<Self, TrainError> {
        let data = recipe.task.read(Some(recipe.variable))?;
        recipe.validate(data.split().train.len())?;
        let device = pool.device().clone().autodiff();
        let key = format!("{} {:?}", recipe.model.display(), recipe.task);
        let (model, activations) = pool.get(key, || Ok(AnyTransformer::load(&recipe.model, &device)?))?;
        let probe = CircuitProbe::new(recipe.probe_config()?, model)?;
        Trainer::for_probe(probe, activations, Arc::new(data), recipe.schedule(), seed, device)
    }

    /// Prepares the evaluation of the current probe.
    pub(super) fn evaluation(&mut self, support: SupportSets) -> ProbeEvaluation<'_> {
        ProbeEvaluation {
            probe: self.module.valid(),
            data: &*self.data,
            activations: &mut self.objective.activations,
            support,
        }
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
/// Returns errors of [`ProbeTraining::from_recipe`], [`Trainer::train`] and of the evaluation.
pub fn train_probe(
    recipe: &ProbeRecipe,
    seed: u64,
    folder: impl AsRef<Path>,
    pool: &BaseModelPool,
    interrupt: &Interrupt,
) -> Result<Option<ProbeReport>, TrainError> {
    let folder = folder.as_ref();
    let mut training = ProbeTraining::from_recipe(pool, recipe, seed)?;
    let label = format!("{} in {}, seed {seed}", recipe.variable, recipe.probe_vectors);
    let (run, outcome, metrics) = training.train(recipe, label, folder, interrupt)?;
    if outcome != Outcome::Finished {
        return Ok(None);
    }
    let circuit = training.circuit();
    save_masks(run.path("masks.safetensors"), circuit)?;
    let mut config = recipe.probe_config()?;
    config.circuit_config = circuit.config().clone();
    config.resid_config = config.resid_config.named_for(circuit.base());
    run.write_json("probe_config.json", &config)?;
    let support = SupportSets { per_class: recipe.evaluation.memory_per_class, draws: 1, seed };
    let row = ProbeRow::measure(recipe, training.evaluation(support))?;
    Ok(Some(ProbeReport { row, metrics, l0: training.circuit().l0() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Arithmetic, Operation, Variable};
    use crate::recipe::{EvaluationRecipe, OptimizerRecipe};
    use crate::run::run_parallel;
    use crate::train::{Trainable, initialize};
    use burn::tensor::Device;
    use ns_circuit::{CircuitConfig, MaskUnit};
    use ns_models::{Gpt2, Gpt2Config, Pretrained};
    use ns_probe::{ActivationCache, ProbeLoss};

    fn training(folder: &Path, batch_size: usize) -> Result<ProbeTraining, TrainError> {
        let config =
            Gpt2Config { vocab_size: 6, n_positions: 3, n_embd: 8, n_layer: 1, n_head: 2, ..Default::default() };
        Gpt2::init(&config, &Device::default())?.save(folder)?;
        alone(&recipe(folder, batch_size), 0)
    }

    const SUPPORT: SupportSets = SupportSets { per_class: 1, draws: 1, seed: 0 };

    /// A probe that shares its model with no other.
    fn alone(recipe: &ProbeRecipe, seed: u64) -> Result<ProbeTraining, TrainError> {
        ProbeTraining::from_recipe(&BaseModelPool::new(&Device::default(), 1024), recipe, seed)
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
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [6, 6, 6]);
        assert_ne!(first, second);
        assert_eq!(first, training.batches(0));
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
                let mut training = alone(&recipe, 0).unwrap();
                training.objective.activations = activations;
                let losses: Vec<u64> = (0..3).map(|epoch| training.epoch(epoch).unwrap().loss.to_bits()).collect();
                let (rows, used) = (training.data.split().test.clone(), training.objective.activations.used());
                let vectors = training.evaluation(SUPPORT).vectors(&rows, true).unwrap().into_data();
                let unmasked = training.evaluation(SUPPORT).vectors(&rows, false).unwrap().into_data();
                (losses, training.circuit().mask_params(), vectors, unmasked, used)
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
            training.circuit().mask_params()
        };
        for pool in [1, 0].map(|megabytes| BaseModelPool::new(&Device::default(), megabytes)) {
            let work = |(recipe, seed): &(&ProbeRecipe, u64), _: &Interrupt| {
                Ok(masks(ProbeTraining::from_recipe(&pool, recipe, *seed)?))
            };
            let check = |job: usize, found| {
                let (recipe, seed) = jobs[job];
                let alone = masks(alone(recipe, seed)?);
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
            ProbeTraining::from_recipe(&BaseModelPool::new(&Device::default(), megabytes), recipe, 0).err()
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
