//! `train RECIPE…`: trains models, circuits and probes.

use std::path::PathBuf;

use clap::Args;
use ns_train::BaseModelPool;

use crate::activation_cache::ActivationCacheOption;
use crate::backend::BackendOption;
use crate::jobs::JobsOption;
use crate::recipe_runs::RecipeRuns;

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

/// Train probes, circuits and models from recipes
///
/// A recipe says which model, on which data, asks which question, with which masks, judged how. Its first key is `kind`:
/// circuit_probe (Lepori et al. 2024), subnetwork_probe (Cao et al. 2021), linear_probe, circuit (on the model's own task)
/// or model (on labels, or a language model on texts). A recipe is shown below; docs/recipes.md has all keys.
///
/// --dry-run prints the examples of each run with the token that is read in brackets, and trains nothing.
///
/// The folder of a run holds its recipe, metrics.jsonl, masks.safetensors (with NeuroSurgeon's names) or the trained model
/// in Hugging Face's layout (subfolder `model`), results.json, about.json and figures (SVG and PNG). The folder of all runs
/// holds the rows of all runs: results.json, results.csv and table.md. A run that fails does not stop the others. Ctrl-C
/// writes checkpoints, and the same command continues from them.
///
/// Example: cargo xtask train models/arithmetic/probe-a2-attn.toml
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
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
        let pool = BaseModelPool::new(&self.backend.device()?, self.activations.activation_cache_mb);
        let seeds: Vec<u64> = match (self.seed, self.seeds) {
            (None, None) => Vec::new(),
            (seed, seeds) => {
                let first = seed.unwrap_or_default();
                (first..first.saturating_add(seeds.unwrap_or(1))).collect()
            }
        };
        let runs = RecipeRuns::new(&self.recipes, &seeds, &self.sets, self.out.as_deref(), &pool)?;
        if self.dry_run { runs.describe(&pool) } else { runs.train(&pool, self.jobs).map(drop) }
    }
}
