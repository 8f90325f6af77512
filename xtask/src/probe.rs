//! `probe RECIPE…`: circuit probes, trained, judged and drawn.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use ns_train::{
    Interrupt, ProbeRecipe, ProbeRow, add_results, draw_probes, draw_run, load_recipe, table, train_probe,
    write_results,
};

use crate::{
    backend::BackendOption,
    output::say,
    prefix_cache::PrefixCacheOption,
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
    prefixes: PrefixCacheOption,
    #[command(flatten)]
    backend: BackendOption,
}

impl Probe {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let device = self.backend.device()?;
        let jobs: Vec<_> = self.recipes.iter().flat_map(|r| (0..self.seeds).map(move |n| (r, self.seed + n))).collect();
        let several = jobs.len() > 1;
        let mut rows = Vec::new();
        for (recipe, seed) in jobs {
            let folder = match (&self.out, several) {
                (None, _) => default_run_folder(recipe, seed),
                (Some(out), false) => out.clone(),
                (Some(out), true) => out.join(run_name(recipe, seed)),
            };
            rows.push(probe(recipe, seed, &folder, &device, self.prefixes.prefix_cache_mb)?);
        }
        if several {
            let folder = self.out.unwrap_or_else(|| "runs".into());
            add_results(&folder, &rows)?;
            draw_probes(&folder, "Circuit probes", &rows)?;
        }
        say!("{}", table(&rows).trim_end());
        Ok(())
    }
}

/// Trains one probe and leaves everything in its folder.
pub(crate) fn probe(
    recipe: &Path,
    seed: u64,
    folder: &Path,
    device: &Device,
    prefix_cache_mb: usize,
) -> anyhow::Result<ProbeRow> {
    let parsed = load_recipe::<ProbeRecipe>(recipe)?.resolve(recipe)?;
    let interrupt = Interrupt::on_signals();
    let Some(report) = train_probe(&parsed, seed, folder, device, &interrupt, prefix_cache_mb)? else {
        anyhow::bail!("stopped; the same command continues from the checkpoint in {}", folder.display());
    };
    write_results(folder, std::slice::from_ref(&report.row))?;
    draw_run(folder, &report)?;
    draw_probes(folder, "Circuit probe", std::slice::from_ref(&report.row))?;
    Ok(report.row)
}
