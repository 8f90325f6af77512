//! `demo`: the whole story on the shipped model.

use std::path::PathBuf;

use clap::Args;
use ns_train::{BaseModelPool, DEFAULT_ACTIVATION_CACHE_MB, draw_probes, probe_table, write_rows};

use crate::{
    backend::BackendOption,
    output::say,
    probe::{ProbeRun, train_all},
};

const RECIPES: [&str; 2] = ["probe-a2-attn", "probe-a_plus_b-attn"];

/// Find the circuit for a² in the shipped model, beside a variable that the model does not use
///
/// The model was trained on (a² − b²) mod 113. A circuit probe looks for a² and for a+b in its attention. For a² it
/// finds a subnetwork that the model cannot do without; for a+b there is nothing to find.
#[derive(Args)]
pub(crate) struct Demo {
    /// Folder of the model and its recipes
    #[arg(long, default_value = "models/arithmetic")]
    model: PathBuf,
    /// Folder of the results
    #[arg(long, default_value = "runs/demo")]
    out: PathBuf,
    #[command(flatten)]
    backend: BackendOption,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let bases = BaseModelPool::new(&self.backend.device()?, DEFAULT_ACTIVATION_CACHE_MB);
        let run = |name: &&str| ProbeRun::new(&self.recipe(name), 0, self.out.join(name));
        let rows = train_all(&RECIPES.iter().map(run).collect::<anyhow::Result<Vec<_>>>()?, &bases, RECIPES.len())?;
        write_rows(&self.out, &rows)?;
        draw_probes(&self.out, "Is it computed, and is it needed?", &rows)?;
        say!("{}", probe_table(&rows));
        let [found, control] = &rows[..] else { anyhow::bail!("the demo has two probes") };
        say!(
            "a²: {:.0} % of the attention weights sort the inputs by a² ({:.1} % right by nearest neighbour); without them \
             the model's accuracy falls from {:.3} to {:.3}.",
            100.0 * found.l0 / found.l0_max,
            100.0 * found.knn_test,
            found.acc_full,
            found.acc_ablated
        );
        say!(
            "a+b: a circuit of {} weights, {:.1} % right ({:.1} % by chance): the model does not compute it here.",
            control.l0,
            100.0 * control.knn_test,
            100.0 * control.majority
        );
        say!("\ntable, masks and figures in {}", self.out.display());
        Ok(())
    }

    fn recipe(&self, name: &str) -> PathBuf {
        self.model.join(format!("{name}.toml"))
    }
}
