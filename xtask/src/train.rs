//! `train RECIPE`: a model from scratch.

use std::path::{Path, PathBuf};

use clap::Args;
use ns_train::{Interrupt, Outcome, TrainRecipe, draw_training, load_recipe, train_model};

use crate::{backend::BackendOption, output::say};

/// Train a model by a recipe, e.g. models/arithmetic/train.toml
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
}

/// `<recipe>-<seed>`.
pub(crate) fn run_name(recipe: &Path, seed: u64) -> String {
    format!("{}-{seed}", recipe.file_stem().unwrap_or_default().to_string_lossy())
}

/// `runs/<recipe>-<seed>`.
pub(crate) fn default_run_folder(recipe: &Path, seed: u64) -> PathBuf {
    Path::new("runs").join(run_name(recipe, seed))
}
