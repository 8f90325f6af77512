//! A run of the grammar of recipes: one cell of a grid, in a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ns_circuit::LayerL0;

use super::attribution_run::AttributionRun;
use super::base_model::read_examples;
use super::base_model_pool::BaseModelPool;
use super::probe_run::ProbeRun;
use super::probe_training::ProbeTraining;
use super::task_run::TaskRun;
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::evaluate::{Measures, Row};
use crate::recipe::check_controls;
use crate::recipe::{Cell, Document, Grid, Kind, Recipe};
use crate::run::{ABOUT, About, Interrupt, Metrics, Run};

/// Results of a run, one row for each probe with results of its own.
pub(super) const RESULTS: &str = "results.json";

/// A run of a recipe file.
#[derive(Clone, Debug)]
pub struct Job {
    /// Name of the run.
    pub name: String,
    /// Folder of the run.
    pub folder: PathBuf,
    /// The recipe, with paths relative to its file.
    pub recipe: Recipe,
    /// The recipe file.
    pub document: Arc<Document>,
}

/// Results of a run.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The rows of the run.
    pub rows: Vec<Row>,
    /// How the run was trained; `None` if it was finished before.
    pub training: Option<TrainingReport>,
}

/// How the model or the probe of a run was trained.
#[derive(Clone, Debug)]
pub struct TrainingReport {
    /// Training metrics, one entry per epoch.
    pub metrics: Vec<Metrics>,
    /// Size of the circuit per layer; empty without masks.
    pub layers: Vec<LayerL0>,
}

impl Job {
    /// The only run of a recipe file.
    ///
    /// # Errors
    /// Returns the errors of [`Document::read`] and [`Grid::new`], and [`TrainError::Setting`] if the recipe has several
    /// runs.
    pub fn single(recipe: impl AsRef<Path>) -> Result<Self, TrainError> {
        let document = Document::read(recipe)?;
        let no_pattern = |_: &Recipe, pattern: &str| {
            Err(TrainError::setting("probe.vectors", format!("`{pattern}`"), "one site is needed here, not a pattern"))
        };
        let mut cells = Grid::new(&document, &[], no_pattern)?.cells;
        match (cells.pop(), cells.len()) {
            (Some(Cell { name, recipe }), 0) => {
                Ok(Self { name, folder: PathBuf::new(), recipe, document: Arc::new(document) })
            }
            (_, others) => Err(document.locate(TrainError::setting(
                "sweep",
                format!("a grid of {} runs", others + 1),
                "one run is needed here; use a recipe without lists",
            ))),
        }
    }

    /// The run in another folder.
    pub fn in_folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), ..self }
    }

    /// The training state of a circuit probe before its first step, without its controls.
    ///
    /// # Errors
    /// Returns the errors of [`Self::train`] before the first step, and [`TrainError::RecipeKey`] for another kind.
    pub fn probe_training(&self, pool: &BaseModelPool) -> Result<ProbeTraining, TrainError> {
        let training = || {
            let found = format!("`{}`", self.recipe.kind.name());
            TrainError::check(self.recipe.kind == Kind::CircuitProbe, "kind", found, "a circuit_probe is needed here")?;
            let (recipe, examples) = self.read(pool)?;
            ProbeRun::new(self, recipe, examples, pool)?.circuit_probe()
        };
        training().map_err(|error| self.document.locate(error))
    }

    /// Checks that this version trains the kind of the recipe, and what `Recipe::validate` does not check.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] with file, line and key.
    pub fn check(&self) -> Result<(), TrainError> {
        let recipe = &self.recipe;
        let kind = recipe.kind.name();
        let check = || {
            let head = recipe.head.is_none() || !recipe.kind.is_probe();
            TrainError::check(head, "head", "given", format!("a {kind} reads no head; remove it"))?;
            let measures = recipe.behaviour.is_none() || recipe.kind != Kind::Model;
            let expected = "a model has loss and accuracy on every set; remove the section";
            TrainError::check(measures, "behaviour", "given", expected)?;
            let whole = recipe.kind != Kind::CircuitProbe || recipe.training.micro_batch.is_none();
            let expected = "the loss of a circuit_probe compares all vectors of a batch; remove the key";
            TrainError::check(whole, "training.micro_batch", "given", expected)
        };
        check().map_err(|error| self.document.locate(error))
    }

    /// Trains and evaluates the run in its folder, with the controls that its recipe asks for. Resumes if the folder has
    /// a checkpoint; a run that is finished is not repeated.
    ///
    /// The folder holds the resolved recipe, metrics, checkpoints, `probe_config.json`, for circuits
    /// `masks.safetensors`, for classifiers `classifier.safetensors`, and when the run is finished `results.json` and `about.json`. Subfolders hold the controls:
    /// `shuffled` and `plain`. Returns `None` if the run was interrupted.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] with file, line and key for what the model or the data do not have, and the
    /// errors of reading data and model, training and evaluation. An invalid recipe is rejected before anything is
    /// written.
    pub fn train(&self, pool: &BaseModelPool, interrupt: &Interrupt) -> Result<Option<RunReport>, TrainError> {
        self.try_train(pool, interrupt).map_err(|error| self.document.locate(error))
    }

    fn try_train(&self, pool: &BaseModelPool, interrupt: &Interrupt) -> Result<Option<RunReport>, TrainError> {
        let start = Instant::now();
        let (recipe, examples) = self.read(pool)?;
        let weights = recipe.model_folder().map(|folder| pool.weights_hash(folder)).transpose()?;
        let about = About::new(weights, &examples, pool.device());
        if let Some(rows) = self.finished_rows(&recipe, &about) {
            return Ok(Some(RunReport { rows, training: None }));
        }
        let trained = match recipe.kind {
            Kind::Attribution => Some(AttributionRun::new(self, recipe.clone(), pool)?.run()?),
            kind if kind.is_probe() => ProbeRun::new(self, recipe.clone(), examples, pool)?.train(interrupt)?,
            _ => TaskRun::new(self, recipe.clone(), examples, pool)?.train(interrupt)?,
        };
        let Some((rows, training)) = trained else { return Ok(None) };
        let folder = Run::open_seeded(&self.folder, &recipe)?;
        let failed = |error: serde_json::Error| TrainError::io("write", folder.path(RESULTS))(error.into());
        folder.write(RESULTS, &(serde_json::to_string_pretty(&rows).map_err(failed)? + "\n"))?;
        folder.write_json(ABOUT, &about.end(start.elapsed()))?;
        Ok(Some(RunReport { rows, training: Some(training) }))
    }

    /// Describes the run without training it: its examples by set, three of them with the read token in brackets, the
    /// steps and the number of maskable weights.
    ///
    /// # Errors
    /// Returns the errors of [`Self::train`] before the first step.
    pub fn describe(&self, pool: &BaseModelPool) -> Result<String, TrainError> {
        let describe = || {
            let (recipe, examples) = self.read(pool)?;
            let shown = describe_examples(&examples, recipe.is_language_model());
            let summary = match recipe.kind {
                Kind::Attribution => AttributionRun::new(self, recipe, pool)?.summary()?,
                kind if kind.is_probe() => ProbeRun::new(self, recipe, examples, pool)?.summary()?,
                _ => TaskRun::new(self, recipe, examples, pool)?.summary()?,
            };
            Ok(format!("{}: {summary}\n{shown}", self.name))
        };
        describe().map_err(|error| self.document.locate(error))
    }

    /// A row of this run, without measures.
    pub(super) fn row(&self, examples: &Examples) -> Row {
        let labels = |rows: &[usize]| rows.iter().map(|row| examples.rows().of(*row).len()).sum();
        let split = examples.split();
        Row {
            run: self.name.clone(),
            kind: self.recipe.kind,
            model: self.recipe.model_name(),
            data: self.recipe.data.name(),
            variable: self.recipe.data.label.clone(),
            site: None,
            layer: None,
            block: None,
            seed: self.recipe.seed,
            n_train: labels(&split.train),
            n_test: labels(&split.test),
            measures: Measures::default(),
        }
    }

    /// The recipe with resolved paths, and its examples.
    pub(super) fn read(&self, pool: &BaseModelPool) -> Result<(Recipe, Examples), TrainError> {
        let recipe = self.recipe.clone().resolve(self.document.path())?;
        let examples = read_examples(pool, &recipe, &recipe.data)?;
        if recipe.kind != Kind::Attribution {
            recipe.training.check(recipe.kind, examples.split().train.len())?;
        }
        check_controls(recipe.evaluation.controls).map_err(|error| error.within("evaluation"))?;
        Ok((recipe, examples))
    }

    /// The rows of a run of the same recipe, by the same program, with the same inputs, if it is finished.
    fn finished_rows(&self, recipe: &Recipe, about: &About) -> Option<Vec<Row>> {
        let repeated = Run::is_of(&self.folder, recipe) && about.is_repeated_in(&self.folder);
        let text = repeated.then(|| std::fs::read_to_string(self.folder.join(RESULTS)).ok()).flatten()?;
        serde_json::from_str(&text).ok()
    }
}

/// The sizes of the sets and three examples. The labels of a language model are the texts themselves.
fn describe_examples(examples: &Examples, is_language_model: bool) -> String {
    let sizes = examples.set_sizes().into_iter().map(|set| {
        let classes = if examples.numbers().is_empty() { "classes" } else { "different numbers" };
        let labels = match set.labels == set.rows {
            true => format!(", {} {classes}", set.classes),
            false => format!(", {} labels, {} {classes}", set.labels, set.classes),
        };
        let labels = if is_language_model { String::new() } else { labels };
        format!("  {}: {} examples{labels}\n", set.name, set.rows)
    });
    let shown = examples.split().train.iter().take(3).map(|row| {
        let labels: Vec<String> = examples.rows().of(*row).iter().map(|label| examples.label_name(*label)).collect();
        let labels = if is_language_model { String::new() } else { format!(" → {}", labels.join(" ")) };
        let partner = examples.partner_excerpt(*row).map(|partner| format!("    partner: {partner}\n"));
        format!("  {}{labels}\n{}", examples.excerpt(*row), partner.unwrap_or_default())
    });
    sizes.chain(shown).collect()
}
