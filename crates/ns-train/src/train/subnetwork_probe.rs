//! Training of subnetwork probes on words in sentences (Cao et al. 2021), with plain probing as the baseline.

use std::path::Path;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};
use burn::train::checkpoint::CheckpointerError;
use ns_circuit::{rng, save_masks};
use ns_models::{AnyTransformer, TextTokenizer};
use ns_probe::{ActivationCache, ProbeBatch, SubnetworkProbe, SubnetworkProbeConfig};
use serde::Serialize;

use super::{BaseModelPool, Learner, Outcome, Trainable};
use crate::data::WordLabels;
use crate::error::TrainError;
use crate::evaluate::{SubnetworkRow, subnetwork_probe::majority};
use crate::recipe::{SubnetworkRecipe, SubnetworkVariant};
use crate::run::{Interrupt, Metrics, Run};

/// Rows per forward pass of the evaluation.
const EVALUATION_BATCH: usize = 128;

/// Training state of one variant of a subnetwork probe.
pub struct SubnetworkTraining {
    recipe: SubnetworkRecipe,
    config: SubnetworkProbeConfig,
    seed: u64,
    device: Device,
    tokenizer: TextTokenizer,
    data: WordLabels,
    probe: SubnetworkProbe<AnyTransformer>,
    optimizer: ModuleOptimizer,
    activations: ActivationCache,
}

impl SubnetworkTraining {
    /// Reads the data, takes the model from the pool and attaches a new probe to it. All variants of a recipe share one
    /// model.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for an invalid recipe, [`TrainError::Model`] if the model or its tokenizer
    /// cannot be loaded, errors of [`WordRecipe::read`](crate::WordRecipe::read), and [`TrainError::Probe`] if the
    /// masks do not fit the model or a batch does not fit into the activation cache.
    pub fn on(
        pool: &BaseModelPool,
        recipe: &SubnetworkRecipe,
        variant: SubnetworkVariant,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let device = pool.device().clone().autodiff();
        let data = recipe.data.read()?;
        recipe.validate(&data)?;
        let data = if variant.control { data.shuffled(seed) } else { data };
        let tokenizer = TextTokenizer::from_folder(&recipe.model)?;
        let mut config = recipe.probe_config(variant, data.classes.len())?;
        // Variants with shuffled labels read the same texts, so they share the activation cache.
        let key = format!("{} {:?}", recipe.model.display(), recipe.data);
        let (model, activations) = pool.get(key, || Ok(AnyTransformer::load_base(&recipe.model, &device)?))?;
        let probe = SubnetworkProbe::new(config.clone(), model, seed)?;
        probe.circuit().set_seed(seed);
        config.circuit_config = probe.circuit().config().clone();
        let (recipe, optimizer) = (recipe.clone(), recipe.optimizer.init());
        let training = Self { recipe, config, seed, device, tokenizer, data, probe, optimizer, activations };
        let (probe, first) = (&training.probe, &training.data.split.train[..training.recipe.batch_size]);
        let batch = training.batch(first, &training.device)?;
        training.activations.check(probe.plan(), probe.circuit().model()?, &batch)?;
        Ok(training)
    }

    /// Configuration of the probe, with the names of all masked layers.
    pub fn config(&self) -> &SubnetworkProbeConfig {
        &self.config
    }

    /// The current probe, in training mode.
    pub fn probe(&self) -> &SubnetworkProbe<AnyTransformer> {
        &self.probe
    }

    /// The labelled words.
    pub fn data(&self) -> &WordLabels {
        &self.data
    }

    /// Builds a batch that selects the last token of each word.
    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError> {
        let texts: Vec<&str> = rows.iter().map(|row| self.data.texts[*row].as_str()).collect();
        let batch = self.tokenizer.encode(&texts, device)?;
        let mut token_mask = Vec::new();
        for (sequence, row) in rows.iter().enumerate() {
            let span = self.data.spans[*row].clone();
            let last = batch.tokens_of(sequence, span.clone()).map(|tokens| tokens.end - 1);
            let last = last.ok_or_else(|| TrainError::Setting {
                setting: "word",
                found: format!("bytes {span:?} of `{}`", self.data.texts[*row]),
                expected: "no token of the tokenised (and possibly truncated) text covers them".into(),
            })?;
            token_mask.extend((0..batch.rows()[sequence].tokens().len()).map(|token| token == last));
        }
        let labels = rows.iter().map(|row| self.data.labels[*row] as i64).collect();
        Ok(ProbeBatch { inputs: batch.inputs, token_mask, labels })
    }

    /// Measures the accuracy of the current probe on some rows, with hard masks.
    ///
    /// # Errors
    /// Returns [`TrainError::Probe`] if a forward pass fails, and errors of the tokenizer.
    pub fn accuracy(&mut self, rows: &[usize]) -> Result<f64, TrainError> {
        let probe = self.probe.valid();
        let device = self.device.clone().inner();
        let mut correct = 0;
        for rows in rows.chunks(EVALUATION_BATCH) {
            let batch = self.batch(rows, &device)?;
            let frozen = probe.cached_activations(&mut self.activations, rows, &batch)?;
            let logits: Tensor<2> = probe.forward_from(&frozen, &batch)?.logits;
            let predicted = logits.argmax(1).into_data();
            correct += predicted.iter::<i64>().zip(&batch.labels).filter(|(class, label)| class == *label).count();
        }
        Ok(correct as f64 / rows.len().max(1) as f64)
    }
}

impl Trainable for SubnetworkTraining {
    fn epoch(&mut self, epoch: usize) -> Result<Metrics, TrainError> {
        let temperature = self.recipe.final_temperature.powf(epoch as f64 / self.recipe.epochs as f64) as f32;
        self.probe.circuit().set_temperature(temperature)?;
        let train = &self.data.split.train;
        let order = rng::permutation(&mut rng::stream(self.seed, "shuffle", epoch as u64, 0), train.len());
        let batches: Vec<Vec<usize>> = order
            .chunks_exact(self.recipe.batch_size)
            .map(|indices| indices.iter().map(|index| train[*index]).collect())
            .collect();
        let mut total = 0.0;
        for (step, rows) in batches.iter().enumerate() {
            self.probe.circuit().begin_step(epoch as u64, step as u64);
            let batch = self.batch(rows, &self.device)?;
            let frozen = self.probe.cached_activations(&mut self.activations, rows, &batch)?;
            let loss = self.probe.forward_from(&frozen, &batch)?.loss;
            total += loss.clone().into_scalar::<f64>();
            let gradients = GradientsParams::from_grads(loss.backward(), &self.probe);
            let learning_rate = self.recipe.optimizer.learning_rate_at(epoch);
            self.probe = self.optimizer.step(learning_rate, self.probe.clone(), gradients);
        }
        let l0 = self.probe.circuit().l0();
        let metrics = Metrics::new(epoch + 1, total / batches.len() as f64);
        Ok(match l0.max > 0.0 {
            true => metrics.with("l0", l0.total).with("l0_max", l0.max).with("temperature", f64::from(temperature)),
            false => metrics,
        })
    }

    fn records(&self) -> (ModuleRecord, OptimizerRecord) {
        (self.probe.clone().into_record_group(self.probe.trained_parameters()), self.optimizer.to_record())
    }

    fn restore(&mut self, model: ModuleRecord, optimizer: OptimizerRecord) -> Result<(), CheckpointerError> {
        // The checkpoint has only masks and classifier. The frozen base is loaded from the folder that the recipe
        // names.
        let restored = self.probe.clone().try_load_record(model.allow_partial(true));
        self.probe = restored.map_err(CheckpointerError::Record)?;
        self.optimizer = self.recipe.optimizer.init().load_record(optimizer);
        Ok(())
    }
}

/// Trains one variant of a recipe in a run folder and evaluates it. Resumes if the folder has a checkpoint.
///
/// A finished run writes `masks.safetensors` and `probe_config.json` to the folder. Returns `None` if the run was
/// interrupted. An invalid recipe is rejected before anything is written.
///
/// # Errors
/// Returns errors of [`SubnetworkTraining::on`], [`Run::open`], [`Learner::train`] and
/// [`SubnetworkTraining::accuracy`].
pub fn train_subnetwork(
    recipe: &SubnetworkRecipe,
    variant: SubnetworkVariant,
    seed: u64,
    folder: &Path,
    pool: &BaseModelPool,
    interrupt: &Interrupt,
) -> Result<Option<SubnetworkRow>, TrainError> {
    #[derive(Serialize)]
    struct Variant {
        variant: SubnetworkVariant,
        #[serde(flatten)]
        recipe: SubnetworkRecipe,
    }
    let mut training = SubnetworkTraining::on(pool, recipe, variant, seed)?;
    // The recipe of this run omits the other variants, so that variants can be added to a recipe later.
    let this_variant = SubnetworkRecipe { l0_lambdas: Vec::new(), plain: false, control: false, ..recipe.clone() };
    let run = Run::open(folder, &Variant { variant, recipe: this_variant }, seed)?;
    let (epochs, checkpoint_every) = (recipe.epochs, recipe.checkpoint_every);
    let learner = Learner { label: variant.name(), epochs, checkpoint_every, interrupt: interrupt.clone() };
    let (outcome, _) = learner.train(&mut training, &run)?;
    if outcome != Outcome::Finished {
        return Ok(None);
    }
    save_masks(run.path("masks.safetensors"), training.probe().circuit())?;
    run.write("probe_config.json", &format!("{:#}\n", serde_json::json!(training.config())))?;
    let (data, l0) = (training.data().clone(), training.probe().circuit().l0());
    let masked = |size| variant.l0_lambda.map(|_| size);
    Ok(Some(SubnetworkRow {
        variant,
        seed,
        train_accuracy: training.accuracy(&data.split.train)?,
        test_accuracy: training.accuracy(&data.split.test)?,
        majority: majority(&data.labels, &data.split.train, &data.split.test),
        l0: masked(l0.total),
        l0_max: masked(l0.max),
    }))
}
