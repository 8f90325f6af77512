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

/// The results of several runs.
pub(crate) struct Runs<T> {
    /// Results of the finished runs, in the order of the runs.
    pub(crate) finished: Vec<T>,
    /// An error that lists the runs that failed or were interrupted, if there are any.
    pub(crate) outcome: anyhow::Result<()>,
}

impl JobsOption {
    /// Trains every run with `train` and passes each result to `finish`, on this thread, as soon as it is available. A
    /// run that fails does not stop the others.
    pub(crate) fn run_all<J: Sync, R: Send, T>(
        self,
        runs: &[J],
        folder: impl Fn(&J) -> PathBuf,
        train: impl Fn(&J, &Interrupt) -> anyhow::Result<Option<R>> + Sync,
        mut finish: impl FnMut(&J, R) -> anyhow::Result<T>,
    ) -> anyhow::Result<Runs<T>> {
        let mut results: Vec<Option<T>> = runs.iter().map(|_| None).collect();
        let (mut interrupted, mut failed) = (Vec::new(), Vec::new());
        let done = |index: usize, trained: anyhow::Result<Option<R>>| {
            let finished = trained.and_then(|result| result.map(|result| finish(&runs[index], result)).transpose());
            match finished {
                Ok(Some(result)) => results[index] = Some(result),
                Ok(None) => interrupted.push(folder(&runs[index]).display().to_string()),
                Err(error) => failed.push((folder(&runs[index]), error)),
            }
            Ok(())
        };
        let work = |run: &J, interrupt: &Interrupt| anyhow::Ok(train(run, interrupt));
        run_parallel(self.jobs.get(), &Interrupt::on_signals(), runs, work, done)?;
        let finished: Vec<T> = results.into_iter().flatten().collect();
        let outcome = outcome([finished.len(), runs.len()], &interrupted, failed);
        Ok(Runs { finished, outcome })
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
