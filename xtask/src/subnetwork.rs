//! `subnetwork RECIPE`: subnetwork probes, with controls.

use std::path::PathBuf;

use clap::Args;
use ns_train::{
    BaseModelPool, Interrupt, SubnetworkRecipe, SubnetworkRow, SubnetworkVariant, draw_subnetworks, load_recipe,
    run_parallel, subnetwork_table, train_subnetwork, write_rows,
};

use crate::{
    activation_cache::ActivationCacheOption, backend::BackendOption, jobs::JobsOption, output::say,
    train::default_run_folder,
};

/// Train subnetwork probes by a recipe, e.g. models/wordnet/probe-part-of-speech.toml (Cao et al. 2021)
///
/// Masks and a classifier are trained together on one vector a sentence, that of a word; beside them the classifier
/// alone on the whole model (plain probing), and both again on labels shuffled by word type, which only a probe that
/// memorises can learn. Ends with a table and the curve of accuracy against size. Runs continue from their last
/// checkpoint; Ctrl-C leaves one.
#[derive(Args)]
pub(crate) struct Subnetwork {
    /// The recipe (TOML)
    recipe: PathBuf,
    /// Seed of probes, shuffles and draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of all runs [default: runs/<recipe>-<seed>]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    jobs: JobsOption,
    #[command(flatten)]
    activations: ActivationCacheOption,
    #[command(flatten)]
    backend: BackendOption,
}

impl Subnetwork {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let recipe = load_recipe::<SubnetworkRecipe>(&self.recipe)?.resolve(&self.recipe)?;
        let folder = self.out.unwrap_or_else(|| default_run_folder(&self.recipe, self.seed));
        let bases = BaseModelPool::new(&self.backend.device()?, self.activations.activation_cache_mb);
        let variants = recipe.variants();
        let train = |variant: &SubnetworkVariant, interrupt: &Interrupt| -> anyhow::Result<Option<SubnetworkRow>> {
            let run = folder.join(variant.name());
            Ok(train_subnetwork(&recipe, *variant, self.seed, &run, &bases, interrupt)?)
        };
        let mut rows = vec![None; variants.len()];
        let done = |place: usize, row| {
            rows[place] = row;
            Ok(())
        };
        run_parallel(self.jobs.count(), &Interrupt::on_signals(), &variants, train, done)?;
        let rows: Vec<SubnetworkRow> = rows.into_iter().flatten().collect();
        if rows.len() < variants.len() {
            anyhow::bail!(
                "stopped, {} of {} probes done; the same command continues from the checkpoints in {}",
                rows.len(),
                variants.len(),
                folder.display()
            );
        }
        write_rows(&folder, &rows)?;
        draw_subnetworks(&folder, &format!("Subnetwork probes at {}", recipe.probe_vectors), &rows)?;
        say!("{}", subnetwork_table(&rows).trim_end());
        Ok(())
    }
}
