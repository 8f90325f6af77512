//! `train RECIPE`: a model, from scratch or from another one.

use std::path::{Path, PathBuf};

use clap::Args;
use ns_train::{Interrupt, Outcome, TaskRecipe, TrainRecipe, draw_training, load_recipe, train_model, train_task};

use crate::{backend::BackendOption, output::say};

/// Train a model by a recipe, e.g. models/arithmetic/train.toml or models/digits/train-resnet.toml
///
/// Continues where it was if the run's folder has a checkpoint; Ctrl-C leaves one. The finished model lies in Hugging
/// Face's layout in the run's subfolder `model`, the loss in its metrics.jsonl and in a figure (SVG and PNG).
#[derive(Args)]
pub(crate) struct Train {
    /// The recipe (TOML)
    recipe: PathBuf,
    /// Seed of the initial weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the run [default: runs/<recipe>-<seed>]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

impl Train {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        // A recipe with [data] trains any model on it; one with [task] the arithmetic experiment, full batch.
        if load_recipe::<toml::Table>(&self.recipe)?.contains_key("data") {
            return self.run_task();
        }
        let recipe: TrainRecipe = load_recipe(&self.recipe)?;
        let folder = self.out.unwrap_or_else(|| default_run_folder(&self.recipe, self.seed));
        let device = self.backend.device()?;
        let (outcome, metrics) = train_model(&recipe, self.seed, &folder, &device, &Interrupt::on_signals())?;
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
        let recipe = load_recipe::<TaskRecipe>(&self.recipe)?.resolve(&self.recipe)?;
        anyhow::ensure!(
            recipe.circuit_config.is_none(),
            "`{}` has a [circuit_config]; `cargo xtask circuit train` trains circuits",
            self.recipe.display()
        );
        let folder = self.out.unwrap_or_else(|| default_run_folder(&self.recipe, self.seed));
        let device = self.backend.device()?;
        let Some(report) = train_task(&recipe, self.seed, &folder, &device, &Interrupt::on_signals())? else {
            say!("stopped; the same command continues from the checkpoint in {}", folder.display());
            return Ok(());
        };
        draw_training(&folder, "Training", &report.metrics)?;
        say!("accuracy {:.4} on the test split (majority class: {:.4})", report.test_accuracy, report.majority);
        say!("model in {}", folder.join("model").display());
        Ok(())
    }
}

/// `<recipe>-<seed>`.
pub(crate) fn run_name(recipe: &Path, seed: u64) -> String {
    format!("{}-{seed}", recipe.file_stem().unwrap_or_default().to_string_lossy())
}

/// `runs/<recipe>-<seed>`.
pub(crate) fn default_run_folder(recipe: &Path, seed: u64) -> PathBuf {
    Path::new("runs").join(run_name(recipe, seed))
}
