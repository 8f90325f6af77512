//! Training a subnetwork probe on words in sentences (Cao et al. 2021), and plain probing beside it.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};
use burn::train::checkpoint::CheckpointerError;
use ns_circuit::{CircuitConfig, rng};
use ns_models::{AnyTransformer, Site, TextTokenizer};
use ns_probe::{
    ActivationCache, Labeling, ProbeBatch, ResidualUpdateModelConfig, SubnetworkProbe, SubnetworkProbeConfig,
};
use serde::{Deserialize, Serialize};

use crate::{
    BaseModelPool, Metrics, OptimizerRecipe, TrainError, Trainable, WordLabels, WordRecipe, task_recipe::resolve_beside,
};

/// Rows that evaluation runs at once.
const EVALUATION_BATCH: usize = 128;

/// Recipe that trains subnetwork probes on one vector a sentence: that of a word's last token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetworkRecipe {
    /// Folder of the model with its tokenizer, relative to the recipe, or a name in the Hub's cache.
    pub model: PathBuf,
    /// Where, e.g. `mlp_stream_5`.
    pub probe_vectors: String,
    /// Width of the probe's hidden layer; −1 for a linear probe.
    #[serde(default = "linear")]
    pub intermediate_size: i64,
    /// Passes over the training rows.
    pub epochs: usize,
    /// Epochs between two checkpoints.
    pub checkpoint_every: usize,
    /// Rows a step; a last short batch is dropped.
    pub batch_size: usize,
    /// Temperature after the last epoch; it starts at 1 and grows by the same factor after each.
    #[serde(default = "unchanged")]
    pub final_temperature: f64,
    /// Factors of the L0 term, each a probe of its own.
    pub l0_lambdas: Vec<f64>,
    /// Whether a probe without masks is trained, too.
    #[serde(default = "yes")]
    pub plain: bool,
    /// Whether every probe is trained on shuffled labels, too (a control task, Hewitt and Liang 2019).
    #[serde(default = "yes")]
    pub control: bool,
    /// The words.
    pub data: WordRecipe,
    /// The optimiser of masks and probe.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// The masks.
    pub circuit_config: CircuitConfig,
}

/// Which probe of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkVariant {
    /// Factor of the L0 term; `None` for plain probing.
    pub l0_lambda: Option<f64>,
    /// Whether labels are shuffled.
    pub control: bool,
}

fn linear() -> i64 {
    -1
}

fn unchanged() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

impl SubnetworkRecipe {
    /// Makes paths relative to the recipe's folder.
    ///
    /// # Errors
    /// [`ns_models::ModelError::ModelNotFound`].
    pub fn resolve(self, recipe: &Path) -> Result<Self, TrainError> {
        Ok(Self { model: resolve_beside(recipe, &self.model)?, data: self.data.resolve(recipe), ..self })
    }

    /// The probes that the recipe asks for, plain probing first.
    pub fn variants(&self) -> Vec<SubnetworkVariant> {
        let factors = self.plain.then_some(None).into_iter().chain(self.l0_lambdas.iter().copied().map(Some));
        let controls = if self.control { &[false, true][..] } else { &[false] };
        factors
            .flat_map(|l0_lambda| {
                controls.iter().map(move |control| SubnetworkVariant { l0_lambda, control: *control })
            })
            .collect()
    }

    fn probe_config(&self, variant: SubnetworkVariant, n_classes: usize) -> Result<SubnetworkProbeConfig, TrainError> {
        let circuit_config = match variant.l0_lambda {
            Some(l0_lambda) => CircuitConfig { l0_lambda, ..self.circuit_config.clone() },
            None => CircuitConfig { target_layers: Vec::new(), ..self.circuit_config.clone() },
        };
        Ok(SubnetworkProbeConfig {
            probe_vectors: self.probe_vectors.clone(),
            n_classes,
            circuit_config,
            resid_config: ResidualUpdateModelConfig::from_site(self.probe_vectors.parse::<Site>()?)?,
            intermediate_size: self.intermediate_size,
            labeling: Labeling::Sequence,
        })
    }

    fn validate(&self, data: &WordLabels) -> Result<(), TrainError> {
        let setting = |setting, found: String, expected: String| Err(TrainError::Setting { setting, found, expected });
        let rows = data.split.train.len();
        if self.batch_size == 0 || self.batch_size > rows {
            return setting("batch_size", self.batch_size.to_string(), format!("there are {rows} training rows"));
        }
        if self.epochs == 0 {
            return setting("epochs", "0".into(), "it must be at least 1".into());
        }
        if !(self.final_temperature.is_finite() && self.final_temperature > 0.0) {
            return setting("final_temperature", self.final_temperature.to_string(), "it must be positive".into());
        }
        match self.l0_lambdas.iter().find(|lambda| !(lambda.is_finite() && **lambda >= 0.0)) {
            Some(lambda) => setting("l0_lambdas", lambda.to_string(), "a factor is at least 0".into()),
            None => Ok(()),
        }
    }
}

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
