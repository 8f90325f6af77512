//! `train RECIPE…`: trains models and probes. Recipes without `kind` have the old forms, for models alone.

use std::path::{Path, PathBuf};

use clap::Args;
use ns_train::figures::count;
use ns_train::{
    BaseModelPool, Interrupt, ModelTraining, Outcome, RowSplit, TaskRecipe, TaskTraining, TrainRecipe, draw_training,
    load_recipe, train_model, train_task,
};

use crate::activation_cache::ActivationCacheOption;
use crate::backend::BackendOption;
use crate::jobs::JobsOption;
use crate::output::say;
use crate::recipe_runs::RecipeRuns;
use crate::run_options::default_run_folder;

/// A recipe for the help text.
const RECIPE: &str = r#"A recipe, which asks which weights of the last attention layer tell singular from plural nouns:

    kind  = "circuit_probe"
    model = "../minilm"

    [data]
    path  = "number.csv"                # columns sentence, noun, number
    text  = "sentence"
    read  = { word = "noun" }
    label = "number"                    # or labels = ["number", "gender"]: one run each
    split = { seeded = { train = 0.6, dev = 0.1, group = "noun" } }

    [probe]
    vectors = "attn_update_5"           # or a list, or a pattern such as "attn_update_*": one run each

    [circuit_config]
    target_layers = "site"              # the layers that write to the probed site, or names and patterns
    add_l0 = true
    l0_lambda = 1e-6

    [training]
    epochs = 30
    batch_size = 100

    [sweep]                             # each key is a list; all combinations are run
    "circuit_config.l0_lambda" = [1e-7, 1e-6]
"#;

/// Train probes or a model from recipes
///
/// A recipe says which model, on which data, asks which question, with which masks, judged how. Its first key is `kind`:
/// circuit_probe (Lepori et al. 2024), subnetwork_probe (Cao et al. 2021) or linear_probe. A recipe is shown below.
///
/// --dry-run prints the examples of each run with the token that is read in brackets, and trains nothing.
///
/// The folder of a run holds its recipe, metrics.jsonl, masks.safetensors (with NeuroSurgeon's names), results.json,
/// about.json and figures (SVG and PNG). The folder of all runs holds the rows of all runs: results.json, results.csv and
/// table.md. A run that fails does not stop the others. Ctrl-C writes checkpoints, and the same command continues from
/// them.
///
/// A recipe without `kind` trains a model, from scratch or from a folder with weights. The folder of the run then holds
/// the finished model in Hugging Face's layout (subfolder `model`).
///
/// Example: cargo xtask train models/digits/train-resnet.toml
#[derive(Args)]
#[command(after_long_help = RECIPE)]
pub(crate) struct Train {
    /// The recipes (TOML)
    #[arg(required = true, value_name = "RECIPE")]
    recipes: Vec<PathBuf>,
    /// Seed of initial weights, shuffles and samples [default: that of the recipe, or 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Number of seeds, counted from --seed or 0 [default: those of the recipe]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Set a key of the recipe, e.g. --set training.epochs=5
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Folder of the run, or of all runs if there are several [default: runs/<recipe>, for one run runs/<recipe>-<seed>]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Check recipes, models and data, print what would be trained, and train nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    jobs: JobsOption,
    #[command(flatten)]
    activations: ActivationCacheOption,
    #[command(flatten)]
    backend: BackendOption,
}

impl Train {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let read = |recipe: &PathBuf| load_recipe::<toml::Table>(recipe);
        let tables = self.recipes.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if tables.iter().all(|table| table.contains_key("kind")) {
            return self.run_recipes();
        }
        anyhow::ensure!(
            self.recipes.len() == 1 && self.sets.is_empty() && self.seeds.is_none(),
            "several recipes, --seeds and --set need recipes with `kind`"
        );
        let (recipe, seed) = (self.recipes[0].clone(), self.seed.unwrap_or_default());
        let folder = self.out.clone().unwrap_or_else(|| default_run_folder(&recipe, seed));
        let run = ModelRun { recipe, seed, folder, dry_run: self.dry_run, backend: self.backend };
        // A recipe with [data] trains any model on that data; one with [task] is the arithmetic experiment, full batch.
        if tables[0].contains_key("data") { run.train_on_data() } else { run.train_on_arithmetic() }
    }

    /// Runs recipes with `kind`.
    fn run_recipes(self) -> anyhow::Result<()> {
        let pool = BaseModelPool::new(&self.backend.device()?, self.activations.activation_cache_mb);
        let seeds: Vec<u64> = match (self.seed, self.seeds) {
            (None, None) => Vec::new(),
            (seed, seeds) => (0..seeds.unwrap_or(1)).map(|index| seed.unwrap_or_default() + index).collect(),
        };
        let runs = RecipeRuns::new(&self.recipes, &seeds, &self.sets, self.out.as_deref(), &pool)?;
        if self.dry_run { runs.describe(&pool) } else { runs.train(&pool, self.jobs) }
    }
}

/// A run of a recipe in an old form, which trains a model.
struct ModelRun {
    recipe: PathBuf,
    seed: u64,
    folder: PathBuf,
    dry_run: bool,
    backend: BackendOption,
}

impl ModelRun {
    fn train_on_arithmetic(self) -> anyhow::Result<()> {
        let recipe: TrainRecipe = load_recipe(&self.recipe)?;
        let folder = &self.folder;
        let device = self.backend.device()?;
        if self.dry_run {
            let training = ModelTraining::from_recipe(&recipe, self.seed, &device)?;
            return describe(folder, training.data().split(), recipe.epochs);
        }
        let (outcome, metrics) = train_model(&recipe, self.seed, folder, &device, &Interrupt::on_signals())?;
        if let Outcome::Interrupted { epochs_done } = outcome {
            say!("stopped after epoch {epochs_done}; the same command continues from there");
            return Ok(());
        }
        draw_training(folder, "Training", &metrics)?;
        if let Some(last) = metrics.last() {
            let accuracy = |name| last.get(name).unwrap_or(f64::NAN);
            say!(
                "loss {:.2e}, accuracy {:.4} on the training split and {:.4} on the test split",
                last.loss,
                accuracy("train_accuracy"),
                accuracy("test_accuracy")
            );
        }
        say!("model in {}", folder.join("model").display());
        Ok(())
    }

    fn train_on_data(self) -> anyhow::Result<()> {
        let recipe = load_recipe::<TaskRecipe>(&self.recipe)?.resolve(&self.recipe)?;
        anyhow::ensure!(
            recipe.circuit_config.is_none(),
            "`{}` has a [circuit_config]; use `circuit train` to train a circuit",
            self.recipe.display()
        );
        let folder = &self.folder;
        let device = self.backend.device()?;
        if self.dry_run {
            let training = TaskTraining::from_recipe(&recipe, self.seed, &device)?;
            return describe(folder, training.data().split(), recipe.epochs);
        }
        let Some(report) = train_task(&recipe, self.seed, folder, &device, &Interrupt::on_signals())? else {
            say!("stopped; the same command continues from the checkpoint in {}", folder.display());
            return Ok(());
        };
        draw_training(folder, "Training", &report.metrics)?;
        say!("accuracy {:.4} on the test split (majority class: {:.4})", report.test_accuracy, report.majority);
        say!("model in {}", folder.join("model").display());
        Ok(())
    }
}

/// Prints what would be trained.
fn describe(folder: &Path, split: &RowSplit, epochs: usize) -> anyhow::Result<()> {
    let [train, test, epochs] = [split.train.len(), split.test.len(), epochs].map(|number| count(number as f64));
    say!("{}: {train} training and {test} test examples, {epochs} epochs", folder.display());
    Ok(())
}
