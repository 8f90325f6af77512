//! Training a subnetwork probe on words in sentences (Cao et al. 2021), and plain probing beside it.

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

/// Rows that evaluation runs at once.
const EVALUATION_BATCH: usize = 128;

/// A subnetwork probe on its way.
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
    /// Reads model and data, the model if no other probe has; one base may serve all variants of a recipe.
    ///
    /// # Errors
    /// [`TrainError::Setting`], and those of the model, the data and the probe; [`ns_probe::ProbeError::ActivationCache`] when
    /// a batch does not fit.
    pub fn on(
        bases: &BaseModelPool,
        recipe: &SubnetworkRecipe,
        variant: SubnetworkVariant,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let device = bases.device().clone().autodiff();
        let data = recipe.data.read()?;
        recipe.validate(&data)?;
        let data = if variant.control { data.shuffled(seed) } else { data };
        let tokenizer = TextTokenizer::from_folder(&recipe.model)?;
        let mut config = recipe.probe_config(variant, data.classes.len())?;
        // Shuffled labels are on the same texts.
        let key = format!("{} {:?}", recipe.model.display(), recipe.data);
        let (model, activations) = bases.get(key, || Ok(AnyTransformer::load_base(&recipe.model, &device)?))?;
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

    /// The probe's configuration.
    pub fn config(&self) -> &SubnetworkProbeConfig {
        &self.config
    }

    /// The probe as it is now, in training mode.
    pub fn probe(&self) -> &SubnetworkProbe<AnyTransformer> {
        &self.probe
    }

    /// The words.
    pub fn data(&self) -> &WordLabels {
        &self.data
    }

    /// Some rows, with the last token of each word selected.
    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError> {
        let texts: Vec<&str> = rows.iter().map(|row| self.data.texts[*row].as_str()).collect();
        let batch = self.tokenizer.encode(&texts, device)?;
        let mut token_mask = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let span = self.data.spans[*row].clone();
            let last = batch.tokens_of(place, span.clone()).map(|tokens| tokens.end - 1);
            let last = last.ok_or_else(|| TrainError::Setting {
                setting: "data",
                found: format!("the word at bytes {span:?} of `{}`", self.data.texts[*row]),
                expected: "it must be among the tokens that the model can take".into(),
            })?;
            token_mask.extend((0..batch.rows()[place].tokens().len()).map(|token| token == last));
        }
        let labels = rows.iter().map(|row| self.data.labels[*row] as i64).collect();
        Ok(ProbeBatch { inputs: batch.inputs, token_mask, labels })
    }

    /// Share of the rows whose class the probe tells, with hard masks.
    ///
    /// # Errors
    /// Those of the probe.
    pub fn accuracy(&mut self, rows: &[usize]) -> Result<f64, TrainError> {
        let probe = self.probe.valid();
        let device = self.device.clone().inner();
        let mut right = 0;
        for rows in rows.chunks(EVALUATION_BATCH) {
            let batch = self.batch(rows, &device)?;
            let frozen = probe.cached_activations(&mut self.activations, rows, &batch)?;
            let told: Tensor<2> = probe.forward_from(&frozen, &batch)?.logits;
            let told = told.argmax(1).into_data();
            right += told.iter::<i64>().zip(&batch.labels).filter(|(told, label)| told == *label).count();
        }
        Ok(right as f64 / rows.len().max(1) as f64)
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
            .map(|places| places.iter().map(|place| train[*place]).collect())
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
        // The frozen base is not in the checkpoint: it is the model that the recipe names.
        let restored = self.probe.clone().try_load_record(model.allow_partial(true));
        self.probe = restored.map_err(CheckpointerError::Record)?;
        self.optimizer = self.recipe.optimizer.init().load_record(optimizer);
        Ok(())
    }
}

/// Trains one probe of a recipe in a run folder, resuming if the folder has a checkpoint. A finished run leaves
/// `masks.safetensors` and `probe_config.json`; an interrupted one gives no row. A recipe that cannot work leaves
/// nothing.
///
/// # Errors
/// As [`SubnetworkTraining::on`] and [`Learner::train`].
pub fn train_subnetwork(
    recipe: &SubnetworkRecipe,
    variant: SubnetworkVariant,
    seed: u64,
    folder: &Path,
    bases: &BaseModelPool,
    interrupt: &Interrupt,
) -> Result<Option<SubnetworkRow>, TrainError> {
    #[derive(Serialize)]
    struct Variant {
        variant: SubnetworkVariant,
        #[serde(flatten)]
        recipe: SubnetworkRecipe,
    }
    let mut training = SubnetworkTraining::on(bases, recipe, variant, seed)?;
    // What else the recipe trains is not this run's: a sweep may grow.
    let alone = SubnetworkRecipe { l0_lambdas: Vec::new(), plain: false, control: false, ..recipe.clone() };
    let run = Run::open(folder, &Variant { variant, recipe: alone }, seed)?;
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
