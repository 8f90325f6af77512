//! `train RECIPE`: trains a model, from scratch or from a checkpoint.

use clap::Args;
use ns_train::figures::count;
use ns_train::{
    Interrupt, ModelTraining, Outcome, RowSplit, TaskRecipe, TaskTraining, TrainRecipe, draw_training, load_recipe,
    train_model, train_task,
};

use crate::{output::say, run_options::RunOptions};

/// Train a model from a recipe
///
/// The recipe names the data (texts, images or an arithmetic task) and the model: a configuration to train from
/// scratch, or a folder with weights to continue from.
///
/// The folder of the run holds the finished model in Hugging Face's layout (subfolder `model`), the loss in
/// metrics.jsonl, and a figure of it (SVG and PNG). Ctrl-C writes a checkpoint, and the same command continues from it.
///
/// Example: cargo xtask train models/digits/train-resnet.toml
#[derive(Args)]
pub(crate) struct Train {
    #[command(flatten)]
    run: RunOptions,
}

impl Train {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        // A recipe with [data] trains any model on that data; one with [task] is the arithmetic experiment, full batch.
        if load_recipe::<toml::Table>(&self.run.recipe)?.contains_key("data") {
            return self.run_task();
        }
        let recipe: TrainRecipe = load_recipe(&self.run.recipe)?;
        let folder = self.run.folder();
        let device = self.run.backend.device()?;
        if self.run.dry_run {
            let training = ModelTraining::from_recipe(&recipe, self.run.seed, &device)?;
            return describe(&folder, training.data().split(), recipe.epochs);
        }
        let (outcome, metrics) = train_model(&recipe, self.run.seed, &folder, &device, &Interrupt::on_signals())?;
        if let Outcome::Interrupted { epochs_done } = outcome {
            say!("stopped after epoch {epochs_done}; the same command continues from there");
            return Ok(());
        }
        draw_training(&folder, "Training", &metrics)?;
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

    fn run_task(self) -> anyhow::Result<()> {
        let recipe = load_recipe::<TaskRecipe>(&self.run.recipe)?.resolve(&self.run.recipe)?;
        anyhow::ensure!(
            recipe.circuit_config.is_none(),
            "`{}` has a [circuit_config]; use `circuit train` to train a circuit",
            self.run.recipe.display()
        );
        let folder = self.run.folder();
        let device = self.run.backend.device()?;
        if self.run.dry_run {
            let training = TaskTraining::from_recipe(&recipe, self.run.seed, &device)?;
            return describe(&folder, training.data().split(), recipe.epochs);
        }
        let Some(report) = train_task(&recipe, self.run.seed, &folder, &device, &Interrupt::on_signals())? else {
            say!("stopped; the same command continues from the checkpoint in {}", folder.display());
            return Ok(());
        };
        draw_training(&folder, "Training", &report.metrics)?;
        say!("accuracy {:.4} on the test split (majority class: {:.4})", report.test_accuracy, report.majority);
        say!("model in {}", folder.join("model").display());
        Ok(())
    }
}

/// Prints what would be trained.
fn describe(folder: &std::path::Path, split: &RowSplit, epochs: usize) -> anyhow::Result<()> {
    let [train, test, epochs] = [split.train.len(), split.test.len(), epochs].map(|number| count(number as f64));
    say!("{}: {train} training and {test} test examples, {epochs} epochs", folder.display());
    Ok(())
}
