//! `probe RECIPE…`: circuit probes, trained, judged and drawn.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use ns_train::{
    BaseModelPool, Interrupt, ProbeRecipe, ProbeReport, ProbeRow, add_results, draw_probes, load_recipe, probe_table,
    run_parallel, train_probe, write_probe,
};

use crate::{
    activation_cache::ActivationCacheOption,
    backend::BackendOption,
    jobs::JobsOption,
    output::say,
    train::{default_run_folder, run_name},
};

/// Train circuit probes by recipes, e.g. models/arithmetic/probe-a2-attn.toml, and test what they found
///
/// The circuit's vectors are judged by 1-nearest-neighbour accuracy, against the unmasked model and the majority class;
/// then the circuit is cut out of the model, and random masks of the same size for comparison. Each run continues from
/// its last checkpoint; Ctrl-C leaves one. A run's folder holds results.json, masks.safetensors (NeuroSurgeon's names),
/// metrics.jsonl and figures (SVG and PNG). Several runs at once share a results.json above their folders, to which
/// later ones add their rows.
#[derive(Args)]
pub(crate) struct Probe {
    /// The recipes (TOML)
    #[arg(required = true)]
    recipes: Vec<PathBuf>,
    /// Seed of shuffles and draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Train with this many seeds, counted up from --seed
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Folder of the run, or of all of them if there are several [default: runs/<recipe>-<seed>]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    jobs: JobsOption,
    #[command(flatten)]
    activations: ActivationCacheOption,
    #[command(flatten)]
    backend: BackendOption,
}

impl Probe {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let bases = BaseModelPool::new(&self.backend.device()?, self.activations.activation_cache_mb);
        let seeds = self.seed..self.seed + self.seeds;
        let wanted: Vec<_> =
            self.recipes.iter().flat_map(|recipe| seeds.clone().map(move |seed| (recipe, seed))).collect();
        let several = wanted.len() > 1;
        let folder = |recipe: &Path, seed| match (&self.out, several) {
            (None, _) => default_run_folder(recipe, seed),
            (Some(out), false) => out.clone(),
            (Some(out), true) => out.join(run_name(recipe, seed)),
        };
        let runs = wanted.into_iter().map(|(recipe, seed)| ProbeRun::new(recipe, seed, folder(recipe, seed)));
        let rows = train_all(&runs.collect::<anyhow::Result<Vec<_>>>()?, &bases, self.jobs.count())?;
        if several {
            let folder = self.out.unwrap_or_else(|| "runs".into());
            add_results(&folder, &rows)?;
            draw_probes(&folder, "Circuit probes", &rows)?;
        }
        say!("{}", probe_table(&rows).trim_end());
        Ok(())
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
}

/// Trains probes, so many at once, and leaves everything in their folders.
pub(crate) fn train_all(runs: &[ProbeRun], bases: &BaseModelPool, jobs: usize) -> anyhow::Result<Vec<ProbeRow>> {
    let train = |run: &ProbeRun, interrupt: &Interrupt| -> anyhow::Result<Option<ProbeReport>> {
        let report = train_probe(&run.recipe, run.seed, &run.folder, bases, interrupt);
        match report {
            // Among several it is not clear which one it is.
            Err(error) if runs.len() > 1 => Err(error).with_context(|| run.folder.display().to_string()),
            report => Ok(report?),
        }
    };
    let (mut rows, mut stopped) = (vec![None; runs.len()], Vec::new());
    let done = |place: usize, report: Option<ProbeReport>| {
        let folder = &runs[place].folder;
        match report {
            Some(report) => {
                write_probe(folder, &report)?;
                rows[place] = Some(report.row);
            }
            None => stopped.push(folder),
        }
        Ok(())
    };
    run_parallel(jobs, &Interrupt::on_signals(), runs, train, done)?;
    let rows: Vec<ProbeRow> = rows.into_iter().flatten().collect();
    if rows.len() < runs.len() {
        let folders: Vec<String> = stopped.iter().map(|folder| folder.display().to_string()).collect();
        let checkpoints = if folders.is_empty() { "its last results".into() } else { folders.join(" and ") };
        let (done, all) = (rows.len(), runs.len());
        anyhow::bail!(
            "stopped, {done} of {all} probes done; the same command continues from the checkpoint in {checkpoints}"
        );
    }
    Ok(rows)
}
