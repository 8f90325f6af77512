//! The option `--jobs`, and training of several runs in one process.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use ns_train::{Interrupt, run_parallel};

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
    /// Trains every run with `train` and passes each result to `finish`, on this thread, as soon as it is available.
    /// Returns the results of `finish` in the order of the runs.
    ///
    /// # Errors
    /// Returns the first error of `train` or `finish`, and an error if the user interrupts the command.
    pub(crate) fn run_all<J: Sync, R: Send, T>(
        self,
        runs: &[J],
        folder: impl Fn(&J) -> PathBuf,
        train: impl Fn(&J, &Interrupt) -> anyhow::Result<Option<R>> + Sync,
        mut finish: impl FnMut(&J, R) -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<T>> {
        let mut results: Vec<Option<T>> = runs.iter().map(|_| None).collect();
        let mut interrupted = Vec::new();
        let done = |index: usize, result: Option<R>| {
            match result {
                Some(result) => results[index] = Some(finish(&runs[index], result)?),
                None => interrupted.push(folder(&runs[index]).display().to_string()),
            }
            Ok(())
        };
        run_parallel(self.jobs.get(), &Interrupt::on_signals(), runs, train, done)?;
        let results: Vec<T> = results.into_iter().flatten().collect();
        anyhow::ensure!(
            results.len() == runs.len(),
            "stopped, {} of {} probes done; the same command continues{}",
            results.len(),
            runs.len(),
            match interrupted.is_empty() {
                true => String::new(),
                false => format!(" from the checkpoint in {}", interrupted.join(" and ")),
            }
        );
        Ok(results)
    }

    /// Runs every job with `work` and passes each result to `done`, on this thread, as soon as it is available. After a
    /// stop request no job is started.
    ///
    /// # Errors
    /// Returns the first error of `done`, after which no job is started either.
    pub(crate) fn run_each<J: Sync, R: Send>(
        self,
        runs: &[J],
        work: impl Fn(&J, &Interrupt) -> R + Sync,
        done: impl FnMut(usize, R) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let work = |job: &J, interrupt: &Interrupt| Ok(work(job, interrupt));
        run_parallel(self.jobs.get(), &Interrupt::on_signals(), runs, work, done)
    }

    /// One job for each of `count` runs.
    pub(crate) fn for_all(count: usize) -> Self {
        Self { jobs: NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN) }
    }
}
