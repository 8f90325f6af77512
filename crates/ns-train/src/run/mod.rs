//! What every run needs: the run folder with its checkpoints, metrics, progress bars, Ctrl-C, and parallel jobs.

mod about;
mod folder;
mod interrupt;
mod metrics;
mod parallel;
mod progress;

pub use about::About;
#[cfg(test)]
pub(crate) use about::examples_hash;
pub(crate) use about::{ABOUT, weights_hash};
pub use folder::Run;
pub(crate) use folder::{MODEL, RECIPE};
pub use interrupt::Interrupt;
pub use metrics::Metrics;
pub use parallel::run_parallel;
pub(crate) use progress::DelayedProgress;
pub use progress::Progress;
