//! `probe RECIPE…`: trains circuit probes, evaluates and draws them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use ns_train::figures::count;
use ns_train::{
    BaseModelPool, Interrupt, ProbeRecipe, ProbeRow, ProbeTraining, add_results, draw_probes, load_recipe, probe_table,
    train_probe, write_probe,
};

use crate::{
    activation_cache::ActivationCacheOption,
    backend::BackendOption,
    jobs::{JobsOption, Runs},
    output::say,
    run_options::{default_run_folder, run_name},
};

/// Train circuit probes from recipes, and test the circuits that they find
///
/// A circuit probe learns a mask that makes a vector of the model encode a variable; the circuit is what the mask
/// keeps. The vectors of the circuit are evaluated by 1-nearest-neighbour accuracy, next to those of the unmasked model
/// and the majority class. Then the circuit is ablated, next to random masks of the same size.
///
/// The folder of a run holds results.json, masks.safetensors (with NeuroSurgeon's names), metrics.jsonl and figures
/// (SVG and PNG). With several runs, the folder above them holds a results.json to which later runs add their rows.
/// A run that fails does not stop the others. Ctrl-C writes a checkpoint, and the same command continues from it.
///
/// Example: cargo xtask probe models/arithmetic/probe-a2-attn.toml
#[derive(Args)]
pub(crate) struct Probe {
    /// The recipes (TOML)
    #[arg(required = true)]
    recipes: Vec<PathBuf>,
    /// Seed of shuffles and samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of seeds per recipe, counted from --seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Folder of the run, or of all runs if there are several [default: runs/<recipe>-<seed>]
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

impl Probe {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let pool = BaseModelPool::new(&self.backend.device()?, self.activations.activation_cache_mb);
        let runs = self.runs()?;
        if self.dry_run {
            return runs.iter().try_for_each(|run| run.describe(&pool));
        }
        let Runs { finished: rows, outcome } = train_all(&runs, &pool, self.jobs)?;
        if rows.is_empty() {
            return outcome;
        }
        if runs.len() > 1 {
            let folder = self.out.unwrap_or_else(|| "runs".into());
            add_results(&folder, &rows)?;
            draw_probes(&folder, &rows)?;
        }
        say!("{}", probe_table(&rows).trim_end());
        outcome
    }

    /// The runs in the order of recipes and seeds.
    fn runs(&self) -> anyhow::Result<Vec<ProbeRun>> {
        let several = self.recipes.len() as u64 * self.seeds > 1;
        let folder = |recipe: &Path, seed| match (&self.out, several) {
            (None, _) => default_run_folder(recipe, seed),
            (Some(out), false) => out.clone(),
            (Some(out), true) => out.join(run_name(recipe, seed)),
        };
        let mut folders = BTreeSet::new();
        let mut runs = Vec::new();
        for recipe in &self.recipes {
            for seed in self.seed..self.seed.saturating_add(self.seeds) {
                let folder = folder(recipe, seed);
                anyhow::ensure!(
                    folders.insert(folder.clone()),
                    "two runs would share the folder `{}`; pass each recipe once, and use different file names",
                    folder.display()
                );
                runs.push(ProbeRun::new(recipe, seed, folder)?);
            }
        }
        Ok(runs)
    }
}

/// A probe to train, and its folder.
pub(crate) struct ProbeRun {
    recipe: ProbeRecipe,
    seed: u64,
    folder: PathBuf,
}

impl ProbeRun {
    /// Reads the recipe.
    pub(crate) fn new(recipe: &Path, seed: u64, folder: PathBuf) -> anyhow::Result<Self> {
        Ok(Self { recipe: load_recipe::<ProbeRecipe>(recipe)?.resolve(recipe)?, seed, folder })
    }

    /// Loads the model and the data, and prints what would be trained.
    fn describe(&self, pool: &BaseModelPool) -> anyhow::Result<()> {
        let training = ProbeTraining::from_recipe(pool, &self.recipe, self.seed)
            .with_context(|| format!("cannot train the run in `{}`", self.folder.display()))?;
        let (split, recipe) = (training.data().split(), &self.recipe);
        say!(
            "{}: {} at {}, {} training and {} test examples, {} epochs of {} steps, {} maskable weights",
            self.folder.display(),
            recipe.variable,
            recipe.probe_vectors,
            count(split.train.len() as f64),
            count(split.test.len() as f64),
            recipe.epochs,
            training.steps_per_epoch(),
            count(training.circuit().l0().max_weights as f64)
        );
        Ok(())
    }
}

/// Trains probes and writes their results into their folders.
pub(crate) fn train_all(runs: &[ProbeRun], pool: &BaseModelPool, jobs: JobsOption) -> anyhow::Result<Runs<ProbeRow>> {
    let train =
        |run: &ProbeRun, interrupt: &Interrupt| Ok(train_probe(&run.recipe, run.seed, &run.folder, pool, interrupt)?);
    jobs.run_all(
        runs,
        |run| run.folder.clone(),
        train,
        |run, report| {
            write_probe(&run.folder, &report)?;
            Ok(report.row)
        },
    )
}
