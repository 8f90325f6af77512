//! The option `--jobs`, and training of several runs in one process.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use ns_train::{Interrupt, run_parallel};

use crate::output::explain;

/// How many probes are trained at the same time.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct JobsOption {
    /// Number of probes that are trained at the same time
    ///
    /// Probes on the same model share its weights and its activation cache. A probe on a small model keeps little more
    /// than one core busy, so several of them finish in about the time of one; each needs memory for its own batch. The
    /// results do not depend on this number.
    #[arg(long, default_value_t = NonZeroUsize::MIN, value_name = "N")]
    jobs: NonZeroUsize,
}

impl JobsOption {
    /// Trains every run with `train` and passes each result to `finish`, on this thread, as soon as it is available. A
    /// run that fails does not stop the others.
    ///
    /// Returns an error that lists the runs that failed or were interrupted, if there are any.
    pub(crate) fn run_all<J: Sync, R: Send>(
        self,
        runs: &[J],
        folder: impl Fn(&J) -> PathBuf,
        train: impl Fn(&J, &Interrupt) -> anyhow::Result<Option<R>> + Sync,
        mut finish: impl FnMut(&J, R) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (mut finished, mut interrupted, mut failed) = (0, Vec::new(), Vec::new());
        let done = |index: usize, trained: anyhow::Result<Option<R>>| {
            match trained.and_then(|result| result.map(|result| finish(&runs[index], result)).transpose()) {
                Ok(Some(())) => finished += 1,
                Ok(None) => interrupted.push(folder(&runs[index]).display().to_string()),
                Err(error) => failed.push((folder(&runs[index]), error)),
            }
            Ok(())
        };
        let work = |run: &J, interrupt: &Interrupt| anyhow::Ok(train(run, interrupt));
        run_parallel(self.jobs.get(), &Interrupt::on_signals(), runs, work, done)?;
        outcome([finished, runs.len()], &interrupted, failed)
    }

    /// One job for each of `count` runs.
    pub(crate) fn for_all(count: usize) -> Self {
        Self { jobs: NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN) }
    }
}

/// The error that lists the runs that did not finish.
fn outcome(
    [finished, all]: [usize; 2],
    interrupted: &[String],
    mut failed: Vec<(PathBuf, anyhow::Error)>,
) -> anyhow::Result<()> {
    if finished == all {
        return Ok(());
    }
    if all == 1
        && let Some((_, error)) = failed.pop()
    {
        return Err(error);
    }
    let mut lines = Vec::new();
    if !failed.is_empty() {
        lines.push(format!("{} of {all} runs failed:", failed.len()));
        lines.extend(failed.iter().map(|(folder, error)| format!("  {}: {}", folder.display(), explain(error))));
    }
    if finished + failed.len() < all {
        let from = match interrupted.is_empty() {
            true => String::new(),
            false => format!(" from the checkpoint in {}", interrupted.join(" and ")),
        };
        lines.push(format!("stopped, {finished} of {all} runs done; the same command continues{from}"));
    }
    anyhow::bail!(lines.join("\n"))
}
