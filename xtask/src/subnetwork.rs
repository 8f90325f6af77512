//! `subnetwork RECIPE`: trains subnetwork probes with their controls.

use clap::Args;
use ns_train::figures::count;
use ns_train::{
    BaseModelPool, Interrupt, SubnetworkRecipe, SubnetworkTraining, SubnetworkVariant, draw_subnetworks, load_recipe,
    subnetwork_table, train_subnetwork, write_rows,
};

use crate::{activation_cache::ActivationCacheOption, jobs::JobsOption, output::say, run_options::RunOptions};

/// Train subnetwork probes (Cao et al. 2021) from a recipe
///
/// A subnetwork probe trains masks and a classifier together, on the vector of one word per sentence. The recipe lists
/// values of λ; a larger λ gives a smaller circuit. It can request two controls: the classifier alone on the whole
/// model (plain probing), and all probes again with a random label per word, which a probe can only memorise.
///
/// Each probe has a subfolder with its masks and metrics. The folder above them holds results.json and a figure of
/// accuracy against circuit size (SVG and PNG), and the command prints a table. Ctrl-C writes a checkpoint, and the
/// same command continues from it.
///
/// Example: cargo xtask subnetwork models/wordnet/probe-part-of-speech.toml, after cargo xtask fetch minilm
#[derive(Args)]
pub(crate) struct Subnetwork {
    #[command(flatten)]
    run: RunOptions,
    #[command(flatten)]
    jobs: JobsOption,
    #[command(flatten)]
    activations: ActivationCacheOption,
}

impl Subnetwork {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let recipe = load_recipe::<SubnetworkRecipe>(&self.run.recipe)?.resolve(&self.run.recipe)?;
        let folder = self.run.folder();
        let pool = BaseModelPool::new(&self.run.backend.device()?, self.activations.activation_cache_mb);
        let variants = recipe.variants();
        if self.run.dry_run {
            for variant in variants {
                let training = SubnetworkTraining::from_recipe(&pool, &recipe, variant, self.run.seed)?;
                let split = training.data().split();
                say!(
                    "{}: {} classes at {}, {} training and {} test words, {} epochs, {} maskable weights",
                    folder.join(variant.name()).display(),
                    training.data().classes().len(),
                    recipe.probe_vectors,
                    count(split.train.len() as f64),
                    count(split.test.len() as f64),
                    recipe.epochs,
                    count(training.circuit().l0().max_weights as f64)
                );
            }
            return Ok(());
        }
        let run_folder = |variant: &SubnetworkVariant| folder.join(variant.name());
        let train = |variant: &SubnetworkVariant, interrupt: &Interrupt| {
            Ok(train_subnetwork(&recipe, *variant, self.run.seed, run_folder(variant), &pool, interrupt)?)
        };
        let rows = self.jobs.run_all(&variants, run_folder, train, |_, row| Ok(row))?;
        write_rows(&folder, &rows)?;
        draw_subnetworks(&folder, &format!("Subnetwork probes at {}", recipe.probe_vectors), &rows)?;
        say!("{}", subnetwork_table(&rows).trim_end());
        Ok(())
    }
}
