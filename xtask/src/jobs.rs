//! `--jobs`.

use std::num::NonZeroUsize;

use clap::Args;

/// How many probes to train at once.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct JobsOption {
    /// Probes that are trained at once. They share the base model and what no mask changes of it. A probe on a small
    /// model keeps little more than one core busy, so that as many as there are cores take hardly longer than one; each
    /// needs memory of its own for its batch. The numbers are the same
    #[arg(long, default_value_t = NonZeroUsize::MIN, value_name = "N")]
    jobs: NonZeroUsize,
}

impl JobsOption {
    /// The number.
    pub(crate) fn count(self) -> usize {
        self.jobs.get()
    }
}
