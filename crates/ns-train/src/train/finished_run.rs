//! Evaluation of a finished run on other data.

use std::path::{Path, PathBuf};

use ns_circuit::load_masks;
use ns_models::{AnyModel, read_config};
use ns_probe::Probe;
use serde_json::Value;

use super::base_model::read_examples;
use super::base_model_pool::BaseModelPool;
use super::behaviour;
use super::job::RESULTS;
use super::objective::ProbeObjective;
use super::probe_measures::MeasuredSets;
use super::probes::{CLASSIFIER, MASKS, Probes, Variant};
use super::task::TaskObjective;
use super::task_measures::{measure_circuit, measure_model};
use super::trainer::Trainer;
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::evaluate::{Measures, Row};
use crate::exchange::CircuitFiles;
use crate::recipe::{Document, Kind, Recipe};
use crate::run::{About, MODEL, RECIPE};

/// Evaluates a finished run on the table `data`, which takes the place of the dev, test and ood sets of its recipe. The
/// training examples are read as the recipe says: classes, shuffled labels and the support sets of 1-NN come from them.
///
/// The table has the columns of the recipe, except those of the split. Returns the rows of the run with what was
/// measured on the table: one for the probe, and for a subnetwork probe one for the probe without masks, if there is
/// one. Relative paths are relative to the folder in which the run was trained.
///
/// # Errors
/// Returns [`TrainError::Setting`] for a folder that is no finished run and for a run that cannot be evaluated on a
/// table, [`TrainError::RecipeKey`] with file, line and key for a recipe of an old form and for what the model or the
/// table do not have, [`TrainError::Data`] for a class that training did not have, and errors of reading the model and
/// the trained parameters.
pub fn evaluate_run(
    folder: impl AsRef<Path>,
    data: impl AsRef<Path>,
    pool: &BaseModelPool,
) -> Result<Vec<Row>, TrainError> {
    let run = FinishedRun::open(folder.as_ref())?;
    run.evaluate(data.as_ref(), pool).map_err(|error| run.document.locate(error))
}

/// The folder of a finished run.
struct FinishedRun {
    folder: PathBuf,
    document: Document,
    /// The recipe with resolved paths.
    recipe: Recipe,
    /// The results of the training.
    rows: Vec<Row>,
}

impl FinishedRun {
    fn open(folder: &Path) -> Result<Self, TrainError> {
        let document =
            Document::read(file(folder, RECIPE, "it must be the folder of one run, which holds its recipe")?)?;
        let recipe = document.recipe()?;
        let expected = "only finished runs are evaluated; repeat the command that trains it, which continues it";
        let path = file(folder, RESULTS, expected)?;
        let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
        let rows = serde_json::from_str(&text).map_err(|error| TrainError::io("read", &path)(error.into()))?;
        Ok(Self { folder: folder.into(), document, recipe, rows })
    }

    fn evaluate(&self, data: &Path, pool: &BaseModelPool) -> Result<Vec<Row>, TrainError> {
        match self.recipe.kind {
            Kind::CircuitProbe | Kind::SubnetworkProbe | Kind::LinearProbe => self.evaluate_probe(data, pool),
            Kind::Model | Kind::Circuit | Kind::Attribution => self.evaluate_task(data, pool),
        }
    }

    /// The recipe with a table as its test set.
    fn recipe_with(&self, data: &Path, pool: &BaseModelPool) -> Result<Recipe, TrainError> {
        let recipe = Recipe { data: self.recipe.data.with_test(data)?, ..self.recipe.clone() };
        // The paths are resolved already; this checks that the model is still there.
        let recipe = recipe.resolve(Path::new(RECIPE))?;
        self.check_weights(&recipe, pool)?;
        Ok(recipe)
    }

    fn evaluate_task(&self, data: &Path, pool: &BaseModelPool) -> Result<Vec<Row>, TrainError> {
        let recipe = self.recipe_with(data, pool)?;
        let answers = |config: Value, model: &AnyModel| behaviour::answers(pool, &recipe, model, &config);
        let (answers, measures) = match recipe.kind {
            Kind::Model => {
                let folder = self.folder.join(MODEL);
                let model = AnyModel::load(&folder, pool.device())?;
                let answers = answers(read_config(&folder)?, &model)?;
                let objective = TaskObjective::new(true, recipe.is_language_model(), recipe.training.micro_batch);
                let measures = measure_model(&objective, &model, &answers.examples, MeasuredSets::Test)?;
                (answers, measures)
            }
            _ => {
                let files = CircuitFiles::find(&self.folder, None, None)?;
                let mut circuit = files.load(pool.device())?;
                circuit.set_seed(recipe.seed);
                let answers = answers(read_config(&files.model)?, circuit.base())?;
                let measures = measure_circuit(&recipe, &circuit, &answers, MeasuredSets::Test)?;
                (answers, measures)
            }
        };
        Ok(vec![self.row(data, &answers.examples, 0, measures)?])
    }

    fn evaluate_probe(&self, data: &Path, pool: &BaseModelPool) -> Result<Vec<Row>, TrainError> {
        let recipe = self.recipe_with(data, pool)?;
        let examples = read_examples(pool, &recipe, &recipe.data)?;
        let probes = Probes::new(recipe, examples, pool)?;
        if self.recipe.kind == Kind::CircuitProbe {
            return Ok(vec![self.row(data, &probes.examples, 0, self.measure_circuit_probe(&probes)?)?]);
        }
        let mut rows = vec![self.row(data, &probes.examples, 0, self.measure_classifier(&probes, false)?)?];
        if (Variant { plain: true, shuffled: false }).folder(&self.folder).is_dir() {
            rows.push(self.row(data, &probes.examples, 1, self.measure_classifier(&probes, true)?)?);
        }
        Ok(rows)
    }

    /// Checks that the weights of the base model are those with which the run was trained.
    fn check_weights(&self, recipe: &Recipe, pool: &BaseModelPool) -> Result<(), TrainError> {
        let trained = About::of_run(&self.folder).and_then(|about| about.model_sha256);
        let Some((folder, trained)) = recipe.model_folder().zip(trained) else { return Ok(()) };
        let same = pool.weights_hash(folder)? == trained;
        let found = format!("`{}` with other weights", folder.display());
        TrainError::check(same, "model", found, "the run needs the weights with which it was trained")
    }

    fn measure_circuit_probe(&self, probes: &Probes<'_>) -> Result<Measures, TrainError> {
        let restored = |shuffled| {
            let variant = Variant { plain: false, shuffled };
            let mut trainer = probes.circuit_trainer(variant)?.0;
            self.restore_masks(variant, &mut trainer)?;
            Ok::<_, TrainError>(trainer)
        };
        let mut shuffled = self.has_control(probes, false).then(|| restored(true)).transpose()?;
        probes.measure_circuit_probe(&mut restored(false)?, shuffled.as_mut(), MeasuredSets::Test)
    }

    fn measure_classifier(&self, probes: &Probes<'_>, plain: bool) -> Result<Measures, TrainError> {
        let restored = |shuffled| {
            let variant = Variant { plain, shuffled };
            let mut trainer = probes.classifier_trainer(variant)?.0;
            self.restore_masks(variant, &mut trainer)?;
            trainer.module.load_probe_params(&load_masks(self.trained(variant, CLASSIFIER)?)?)?;
            Ok::<_, TrainError>(trainer)
        };
        let mut shuffled = self.has_control(probes, plain).then(|| restored(true)).transpose()?;
        probes.measure_classifier(&mut restored(false)?, shuffled.as_mut(), MeasuredSets::Test)
    }

    fn restore_masks<P: Probe>(
        &self,
        variant: Variant,
        trainer: &mut Trainer<ProbeObjective<P>>,
    ) -> Result<(), TrainError> {
        let circuit = trainer.module.circuit_mut();
        if !circuit.layers().is_empty() {
            circuit.load_mask_params(&load_masks(self.trained(variant, MASKS)?)?)?;
        }
        Ok(())
    }

    /// Path of the trained parameters of a probe.
    fn trained(&self, variant: Variant, name: &str) -> Result<PathBuf, TrainError> {
        let path = variant.folder(&self.folder).join(name);
        let missing = || {
            let reason =
                "no such file; the run is of another version of this program, train it again with another --out";
            TrainError::io("read", &path)(std::io::Error::new(std::io::ErrorKind::NotFound, reason))
        };
        if path.is_file() { Ok(path) } else { Err(missing()) }
    }

    /// Whether there is a probe on shuffled labels, and such labels for the table.
    fn has_control(&self, probes: &Probes<'_>, plain: bool) -> bool {
        (Variant { plain, shuffled: true }).folder(&self.folder).is_dir() && probes.examples.has_control()
    }

    /// A row of the training with other measures.
    fn row(&self, data: &Path, examples: &Examples, index: usize, measures: Measures) -> Result<Row, TrainError> {
        let row = self.rows.get(index).cloned().ok_or_else(|| {
            let found = format!("with {} rows", self.rows.len());
            TrainError::setting(RESULTS, found, "a finished run has one for each probe; train it again")
        })?;
        let n_test = examples.labels(&examples.split().test).len();
        Ok(Row { data: data.display().to_string(), n_test, measures, ..row })
    }
}

/// Path of a file in the folder of a run, which must exist.
fn file(folder: &Path, name: &str, expected: &str) -> Result<PathBuf, TrainError> {
    let path = folder.join(name);
    let found = format!("`{}`, a folder without {name}", folder.display());
    TrainError::check(path.is_file(), "the run", found, expected)?;
    Ok(path)
}
