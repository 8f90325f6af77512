//! Runs: the folder of a run with its checkpoints, interruption, progress, and several runs at once.

mod folder;
mod interrupt;
mod metrics;
mod parallel;
mod progress;

pub(crate) use folder::MODEL;
pub use folder::Run;
pub use interrupt::Interrupt;
pub use metrics::Metrics;
pub use parallel::run_parallel;
pub use progress::Progress;
