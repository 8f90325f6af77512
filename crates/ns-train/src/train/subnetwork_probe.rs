//! Training of subnetwork probes on words in sentences (Cao et al. 2021), with plain probing as the baseline.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use ns_circuit::save_masks;
use ns_models::AnyTransformer;
use ns_probe::SubnetworkProbe;
use serde::Serialize;

use super::base_model_pool::BaseModelPool;
use super::learner::Outcome;
use super::objective::ProbeObjective;
use super::trainer::Trainer;
use crate::data::{Dataset, Tokenized};
use crate::error::TrainError;
use crate::evaluate::{Predictions, SubnetworkRow, predict};
use crate::recipe::{SubnetworkRecipe, SubnetworkVariant};
use crate::run::Interrupt;

/// Training state of one variant of a subnetwork probe.
pub type SubnetworkTraining = Trainer<ProbeObjective<SubnetworkProbe<AnyTransformer>>>;

impl SubnetworkTraining {
    /// Reads the data, takes the model from the pool and attaches a new probe to it. All variants of a recipe share one
    /// model.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for an invalid recipe, [`TrainError::Model`] if the model or its tokenizer
    /// cannot be loaded, errors of [`WordRecipe::read`](crate::WordRecipe::read), and [`TrainError::Probe`] if the
    /// masks do not fit the model or a batch does not fit into the activation cache.
    pub fn from_recipe(
        pool: &BaseModelPool,
        recipe: &SubnetworkRecipe,
        variant: SubnetworkVariant,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let words = recipe.data.read()?;
        recipe.validate(words.rows.split.train.len())?;
        let words = if variant.control { words.shuffled(seed) } else { words };
        let data = Tokenized::new(words, &recipe.model)?;
        let config = recipe.probe_config(variant, data.classes().len())?;
        let device = pool.device().clone().autodiff();
        // Variants with shuffled labels read the same texts, so they share the activation cache.
        let key = format!("{} {:?}", recipe.model.display(), recipe.data);
        let (model, activations) = pool.get(key, || Ok(AnyTransformer::load_base(&recipe.model, &device)?))?;
        let probe = SubnetworkProbe::new(config, model, seed)?;
        Trainer::for_probe(probe, activations, Arc::new(data), recipe.schedule(), seed, device)
    }

    /// Measures the accuracy of the current probe on some rows, with hard masks.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if a forward pass fails, and errors of the tokenizer.
    pub fn accuracy(&mut self, rows: &[usize]) -> Result<f64, TrainError> {
        Ok(self.predictions(rows)?.accuracy())
    }

    /// Predicts the labels of some rows with the current probe and hard masks.
    pub(super) fn predictions(&mut self, rows: &[usize]) -> Result<Predictions, TrainError> {
        predict(&self.module.valid(), &*self.data, rows, &mut self.objective.activations)
    }
}

/// Trains one variant of a recipe in a run folder and evaluates it. Resumes if the folder has a checkpoint.
///
/// A finished run writes `masks.safetensors` and `probe_config.json` to the folder. Returns `None` if the run was
/// interrupted. An invalid recipe is rejected before anything is written.
///
/// # Errors
/// Returns errors of [`SubnetworkTraining::from_recipe`], [`Trainer::train`] and [`SubnetworkTraining::accuracy`].
pub fn train_subnetwork(
    recipe: &SubnetworkRecipe,
    variant: SubnetworkVariant,
    seed: u64,
    folder: impl AsRef<Path>,
    pool: &BaseModelPool,
    interrupt: &Interrupt,
) -> Result<Option<SubnetworkRow>, TrainError> {
    let folder = folder.as_ref();
    #[derive(Serialize)]
    struct Variant {
        variant: SubnetworkVariant,
        #[serde(flatten)]
        recipe: SubnetworkRecipe,
    }
    let mut training = SubnetworkTraining::from_recipe(pool, recipe, variant, seed)?;
    // The recipe of this run omits the other variants, so that variants can be added to a recipe later.
    let this_variant = SubnetworkRecipe { l0_lambdas: Vec::new(), plain: false, control: false, ..recipe.clone() };
    let this_variant = Variant { variant, recipe: this_variant };
    let (run, outcome, _) = training.train(&this_variant, variant.name(), folder, interrupt)?;
    if outcome != Outcome::Finished {
        return Ok(None);
    }
    let circuit = training.circuit();
    save_masks(run.path("masks.safetensors"), circuit)?;
    let mut config = recipe.probe_config(variant, training.data().classes().len())?;
    config.circuit_config = circuit.config().clone();
    run.write_json("probe_config.json", &config)?;
    let (data, l0) = (training.data.clone(), circuit.l0());
    let masked = |size| variant.l0_lambda.map(|_| size as f64);
    Ok(Some(SubnetworkRow {
        variant,
        seed,
        train_accuracy: training.accuracy(&data.split().train)?,
        test_accuracy: training.accuracy(&data.split().test)?,
        majority: data.rows().majority(),
        l0: masked(l0.weights),
        l0_max: masked(l0.max_weights),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixtures::{file, write_tokenizer};
    use crate::train::Trainable;
    use burn::tensor::Device;
    use ns_models::{Gpt2, Gpt2Config, Pretrained};

    const RECIPE: &str = r#"
        model = ""
        probe_vectors = "mlp_stream_0"
        epochs = 1
        checkpoint_every = 1
        batch_size = 3
        l0_lambdas = [0.0, 1e3]
        [data]
        path = ""
        split = { seeded = { train_fraction = 0.75, seed = 0 } }
        classes = ["x", "y"]
        [circuit_config]
        mask_method = "hard_concrete"
        target_layers = ["h.0.mlp.c_fc"]
        add_l0 = true
        [circuit_config.mask_hparams]
        mask_unit = "neuron"
        mask_init_percentage = 0.7
    "#;

    #[test]
    fn a_word_is_read_at_its_last_token_and_the_loss_has_no_l0_term() {
        let rows = "a b,2,3,x,b\nc d a b,0,3,y,cd\nb b,0,1,x,b\nd,0,1,y,d\n";
        let (folder, path) = file("a.csv", format!("text,start,end,label,word\n{rows}"));
        let config =
            Gpt2Config { vocab_size: 6, n_positions: 4, n_embd: 8, n_layer: 1, n_head: 2, ..Default::default() };
        Gpt2::init(&config, &Device::default()).unwrap().save(folder.path()).unwrap();
        write_tokenizer(folder.path());
        let mut recipe: SubnetworkRecipe = toml::from_str(RECIPE).unwrap();
        (recipe.model, recipe.data.path) = (folder.path().into(), path);
        let pool = BaseModelPool::new(&Device::default(), 1);
        let train = |l0_lambda| {
            let variant = SubnetworkVariant { l0_lambda: Some(l0_lambda), control: false };
            let mut training = SubnetworkTraining::from_recipe(&pool, &recipe, variant, 0).unwrap();
            let batch = training.data().batch(&[0, 1], &Device::default()).unwrap();
            assert_eq!(batch.token_mask, [false, true, false, false, false, true, false, false]);
            (training.epoch(0).unwrap(), training.circuit().mask_params())
        };
        let ((without, masks), (with, other_masks)) = (train(0.0), train(1e3));
        assert_eq!(without.loss, with.loss);
        assert_eq!(with.get("l0_max"), Some(256.0));
        assert_ne!(masks, other_masks, "the L0 term moves the masks");
    }
}
