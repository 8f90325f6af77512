//! `circuit train RECIPE`: a circuit on the model's own task.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use ns_train::{
    CircuitRow, Interrupt, TaskRecipe, circuit_table, draw_circuit_sizes, draw_training, load_recipe, train_task,
    write_rows,
};

use crate::{backend::BackendOption, output::say, train::default_run_folder};

/// Train circuits on a model's own task by a recipe, e.g. models/digits/circuit-vit.toml, and ablate them
///
/// The masks learn to keep the task's loss low with as few weights as the L0 term asks for (pruning); the base is
/// frozen, or trained along with `freeze_base = false`. A recipe with several `l0_lambdas` trains a circuit for each.
/// Then each is cut out, beside random masks of its size. Runs continue from their last checkpoint; Ctrl-C leaves one.
#[derive(Args)]
pub(crate) struct CircuitTrain {
    /// The recipe (TOML)
    recipe: PathBuf,
    /// Seed of shuffles and draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the run, or of all of them if the recipe has several factors [default: runs/<recipe>-<seed>]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

impl CircuitTrain {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let recipe = load_recipe::<TaskRecipe>(&self.recipe)?.resolve(&self.recipe)?;
        anyhow::ensure!(
            recipe.circuit_config.is_some(),
            "`{}` has no [circuit_config]; `cargo xtask train` trains a whole model",
            self.recipe.display()
        );
        let folder = self.out.unwrap_or_else(|| default_run_folder(&self.recipe, self.seed));
        let device = self.backend.device()?;
        let recipes = recipe.sweep();
        let several = recipes.len() > 1;
        let mut rows = Vec::new();
        for recipe in recipes {
            let lambda = recipe.circuit_config.as_ref().map_or(0.0, |config| config.l0_lambda);
            let folder = if several { folder.join(format!("lambda-{lambda:e}")) } else { folder.clone() };
            rows.push(train(&recipe, self.seed, &folder, &device)?);
        }
        if several {
            write_rows(&folder, &rows)?;
            draw_circuit_sizes(&folder, "Circuits of a sweep", &rows)?;
        }
        say!("{}", circuit_table(&rows).trim_end());
        Ok(())
    }
}

fn train(recipe: &TaskRecipe, seed: u64, folder: &Path, device: &Device) -> anyhow::Result<CircuitRow> {
    let Some(report) = train_task(recipe, seed, folder, device, &Interrupt::on_signals())? else {
        anyhow::bail!("stopped; the same command continues from the checkpoint in {}", folder.display());
    };
    let Some(row) = report.circuit else {
        anyhow::bail!("the recipe masks no layer: circuit_config.target_layers is empty");
    };
    draw_training(folder, "Circuit", &report.metrics)?;
    write_rows(folder, std::slice::from_ref(&row))?;
    Ok(row)
}
