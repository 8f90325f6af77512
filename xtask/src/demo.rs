//! `demo`: finds and tests a circuit of the shipped model, next to a control.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ns_train::figures::count;
use ns_train::{BaseModelPool, DEFAULT_ACTIVATION_CACHE_MB, Row};

use crate::{backend::BackendOption, jobs::JobsOption, output::say, recipe_runs::RecipeRuns};

const RECIPES: [&str; 2] = ["probe-a2-attn", "probe-a_plus_b-attn"];

/// Find the circuit of a² in the shipped model, next to a variable that the model does not compute
///
/// The model (models/arithmetic) was trained on (a² − b²) mod 113. Two circuit probes search the weights of its
/// attention, one for a² and one for a+b. For a² the probe finds a subnetwork that the model needs. For a+b it finds
/// nothing. On two cores this takes about a quarter of a minute.
///
/// The command prints a table and writes results.json and a figure (SVG and PNG) to the folder --out. Its subfolders
/// probe-a2-attn-0 and probe-a_plus_b-attn-0 hold the masks, metrics and figures of each probe.
///
/// Example: cargo xtask demo
#[derive(Args)]
pub(crate) struct Demo {
    /// Folder of the model and its recipes
    #[arg(long, default_value = "models/arithmetic")]
    model: PathBuf,
    /// Folder to write
    #[arg(long, default_value = "runs/demo")]
    out: PathBuf,
    #[command(flatten)]
    backend: BackendOption,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let pool = BaseModelPool::new(&self.backend.device()?, DEFAULT_ACTIVATION_CACHE_MB);
        let recipes = RECIPES.map(|name| self.model.join(format!("{name}.toml")));
        let runs = RecipeRuns::new(&recipes, &[0], &[], Some(&self.out), &pool)?;
        let rows = runs.train(&pool, JobsOption::for_all(RECIPES.len()))?;
        let [found, control] = &rows[..] else { anyhow::bail!("the demo must have the results of two probes") };
        let number = |row: &Row, name| row.number(name).with_context(|| format!("`{}` has no {name}", row.run));
        say!(
            "\na²: {:.0}% of the attention weights sort the inputs by a² (1-NN accuracy {:.1}%); without them \
             the model's accuracy falls from {:.3} to {:.3}.",
            100.0 * number(found, "l0")? / number(found, "l0_max")?,
            100.0 * number(found, "knn_test")?,
            number(found, "acc_full")?,
            number(found, "acc_ablated")?
        );
        say!(
            "a+b: a circuit of {} weights, 1-NN accuracy {:.1}% (majority class: {:.1}%): the model does not compute \
             a+b here.",
            count(number(control, "l0")?),
            100.0 * number(control, "knn_test")?,
            100.0 * number(control, "majority")?
        );
        Ok(())
    }
}
