//! Runs of the kind `attribution`: units are scored by gradients, and the best of them are a circuit.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::TensorData;
use ns_circuit::{CircuitConfig, CircuitModel, save_masks};
use ns_models::{AnyModel, AnyTransformer, save_tensors};
use ns_probe::mask_targets;

use super::base_model::model_config;
use super::base_model_pool::BaseModelPool;
use super::behaviour;
use super::job::{Job, TrainingReport};
use super::probe_measures::MeasuredSets;
use super::probes::MASKS;
use super::task_measures::measure_circuit;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::evaluate::{
    Answers, AttributionScores, Row, UnitRanking, UnitScores, check_outputs, masked_layer, unit_scores,
};
use crate::recipe::{AttributionSection, Kind, RankBy, Recipe};
use crate::run::{DelayedProgress, Run};

/// File with the scores of the units.
const SCORES: &str = "scores.safetensors";
/// File with the scores of sites and heads.
const SITE_SCORES: &str = "site_scores.json";

/// A run whose examples and model are loaded.
pub(super) struct AttributionRun<'a> {
    job: &'a Job,
    /// The recipe with resolved paths.
    recipe: Recipe,
    section: AttributionSection,
    answers: Answers,
    model: AnyTransformer,
    circuit: CircuitModel<AnyModel>,
    layers: Vec<String>,
}

impl<'a> AttributionRun<'a> {
    /// Loads the model. `recipe` has resolved paths.
    pub(super) fn new(job: &'a Job, recipe: Recipe, pool: &BaseModelPool) -> Result<Self, TrainError> {
        let device = pool.device().clone().autodiff();
        let expected = "attribution needs the folder of a trained model";
        let folder = recipe.model_folder().ok_or_else(|| TrainError::setting("model", "a fresh model", expected))?;
        let model = AnyModel::load(folder, &device)?;
        let answers = behaviour::answers(pool, &recipe, &model, &model_config(&recipe)?)?;
        let config = recipe.circuit_config.clone().unwrap_or_default();
        let targets = mask_targets(&model);
        let circuit = CircuitModel::new(CircuitConfig { add_l0: false, ..config }, model.clone(), &targets)?;
        check_outputs(("circuit_config.target_layers", Kind::Attribution.name()), &circuit)?;
        behaviour::check_ablations(&recipe, &circuit)?;
        let layers = circuit.layers().into_iter().map(|layer| layer.name).collect();
        let model = model.transformer()?.clone();
        let section = recipe.attribution.clone().unwrap_or_default();
        Ok(Self { job, recipe, section, answers, model, circuit, layers })
    }

    /// What is scored, in one line.
    pub(super) fn summary(&self) -> Result<String, TrainError> {
        let units = UnitRanking::of_masks(&self.circuit)?.len();
        let examples = self.answers.examples.split().train.len();
        let layers = self.layers.len();
        Ok(format!(
            "attribution of {} in {}, {units} units of {layers} layers on {examples} training examples",
            self.recipe.data.label.as_deref().unwrap_or("the answer"),
            self.job.recipe.model_name(),
        ))
    }

    /// Scores the units, and measures the circuit of the best of them.
    pub(super) fn run(mut self) -> Result<(Vec<Row>, TrainingReport), TrainError> {
        let run = Run::open_seeded(&self.job.folder, &self.recipe)?;
        let start = Instant::now();
        let scores = self.scores()?;
        let seconds = start.elapsed().as_secs_f64();
        let ranking = self.ranking(&scores.units)?;
        let size = self.size(&ranking)?;
        self.circuit.load_mask_params(&ranking.logits(size))?;
        self.circuit.set_seed(self.recipe.seed);
        let circuit = self.circuit.valid();
        save_tensors(run.path(SCORES), &tensors(&scores.units))?;
        if !scores.sites.is_empty() {
            run.write_json(SITE_SCORES, &scores.sites)?;
        }
        save_masks(run.path(MASKS), &circuit)?;
        run.write_json("circuit_config.json", circuit.config())?;
        let mut measures = measure_circuit(&self.recipe, &circuit, &self.answers, MeasuredSets::All)?;
        measures.set("units", ranking.len());
        measures.set("units_kept", size);
        measures.set("attribution_seconds", seconds);
        let row = Row { measures, ..self.job.row(&self.answers.examples) };
        Ok((vec![row], TrainingReport { metrics: Vec::new(), layers: circuit.l0().layers }))
    }

    fn scores(&self) -> Result<AttributionScores, TrainError> {
        let rows = &self.answers.examples.split().train;
        let mut bar = DelayedProgress::new("attribution");
        let report = |done| bar.update(done, rows.len());
        let scores = unit_scores(&self.model, &self.answers, rows, &self.layers, &self.section, report)?;
        bar.finish();
        Ok(scores)
    }

    /// Ranks the units. Without a mask on its bias, a unit has one entry; a bias mask has the scores of its units.
    fn ranking(&self, scores: &UnitScores) -> Result<UnitRanking, TrainError> {
        let score = |name: &str, unit: usize| {
            let score = scores.get(masked_layer(name)).and_then(|of_layer| of_layer.get(unit));
            let score = score.copied().unwrap_or_default();
            if self.section.rank == RankBy::Absolute { score.abs() } else { score }
        };
        UnitRanking::of_scores(&self.circuit, score)
    }

    /// Number of units of the circuit.
    fn size(&self, ranking: &UnitRanking) -> Result<usize, TrainError> {
        let size = ranking.size_of("attribution.share", self.section.share)?;
        let tied = ranking.tied(size);
        if tied > 0 {
            tracing::warn!("{tied} units have the score of the last of the {size} best; they are all kept, or none");
        }
        Ok(size)
    }
}

/// The scores as tensors `<layer>.unit_scores`, `[units]`.
fn tensors(scores: &UnitScores) -> BTreeMap<String, TensorData> {
    let tensor = |(layer, of_layer): (&String, &Vec<f64>)| {
        let values: Vec<f32> = of_layer.iter().map(|score| *score as f32).collect();
        let shape = [values.len()];
        (format!("{layer}.unit_scores"), TensorData::new(values, shape))
    };
    scores.iter().map(tensor).collect()
}
