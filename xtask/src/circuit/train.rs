//! `circuit train RECIPE`: trains circuits on a model's own task.

use std::path::Path;

use burn::tensor::Device;
use clap::Args;
use ns_train::figures::count;
use ns_train::{
    CircuitRow, Interrupt, TaskRecipe, TaskReport, TaskTraining, circuit_table, draw_circuit_sizes, draw_training,
    load_recipe, train_task, write_rows,
};

use crate::{
    jobs::{JobsOption, Runs},
    output::say,
    run_options::RunOptions,
};

/// Train circuits on a model's own task from a recipe, and ablate them
///
/// The masks learn to keep the loss of the task low with few weights: the L0 term of the loss grows with the number of
/// weights that are kept. The base model is frozen, unless the recipe sets `freeze_base = false`. A recipe with several
/// `l0_lambdas` trains one circuit per value. Each circuit is then ablated, next to random masks of the same size, and
/// the command prints a table.
///
/// The folder of a run holds results.json, masks.safetensors (with NeuroSurgeon's names), circuit_config.json,
/// metrics.jsonl, a figure of the training (SVG and PNG), and the model if it was trained as well. With several values,
/// each has a subfolder such as lambda-1e-4, and the folder above them holds a results.json and a figure of accuracy
/// against circuit size. A circuit that fails does not stop the others. Ctrl-C writes a checkpoint, and the same command
/// continues from it.
///
/// Example: cargo xtask circuit train models/digits/circuit-vit.toml
#[derive(Args)]
pub(crate) struct CircuitTrain {
    #[command(flatten)]
    run: RunOptions,
}

impl CircuitTrain {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let recipe = load_recipe::<TaskRecipe>(&self.run.recipe)?.resolve(&self.run.recipe)?;
        anyhow::ensure!(
            recipe.circuit_config.is_some(),
            "`{}` has no [circuit_config]; `cargo xtask train` trains a whole model",
            self.run.recipe.display()
        );
        let folder = self.run.folder();
        let device = self.run.backend.device()?;
        let recipes = recipe.sweep();
        let several = recipes.len() > 1;
        let run_folder = |recipe: &TaskRecipe| {
            let lambda = recipe.circuit_config.as_ref().map_or(0.0, |config| config.l0_lambda);
            if several { folder.join(format!("lambda-{lambda:e}")) } else { folder.clone() }
        };
        let seed = self.run.seed;
        if self.run.dry_run {
            return recipes.iter().try_for_each(|recipe| describe(recipe, seed, &run_folder(recipe), &device));
        }
        let train = |recipe: &TaskRecipe, interrupt: &Interrupt| {
            Ok(train_task(recipe, seed, run_folder(recipe), &device, interrupt)?)
        };
        let finish = |recipe: &TaskRecipe, report| write(&run_folder(recipe), report);
        let Runs { finished: rows, outcome } = JobsOption::for_all(1).run_all(&recipes, run_folder, train, finish)?;
        if rows.is_empty() {
            return outcome;
        }
        if several {
            write_rows(&folder, &rows)?;
            draw_circuit_sizes(&folder, "Circuits of a sweep", &rows)?;
        }
        say!("{}", circuit_table(&rows).trim_end());
        outcome
    }
}

/// Loads the model and the data, and prints what would be trained.
fn describe(recipe: &TaskRecipe, seed: u64, folder: &Path, device: &Device) -> anyhow::Result<()> {
    let training = TaskTraining::from_recipe(recipe, seed, device)?;
    let split = training.data().split();
    say!(
        "{}: {} training and {} test examples, {} epochs, {} maskable weights",
        folder.display(),
        count(split.train.len() as f64),
        count(split.test.len() as f64),
        recipe.epochs,
        count(training.circuit().l0().max_weights as f64)
    );
    Ok(())
}

/// Writes the results of one circuit and returns its row of the table.
fn write(folder: &Path, report: TaskReport) -> anyhow::Result<CircuitRow> {
    let Some(row) = report.circuit else {
        anyhow::bail!("the recipe masks no layer: circuit_config.target_layers is empty; name at least one layer");
    };
    draw_training(folder, "Circuit", &report.metrics)?;
    write_rows(folder, std::slice::from_ref(&row))?;
    Ok(row)
}
