//! Ctrl-C, politely.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// Whether somebody asked the program to stop. The first Ctrl-C (or SIGTERM, as a cluster sends it) lets the epoch
/// finish and a checkpoint be written; the second ends the program at once.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens to the process's signals. Where no handler can be installed, signals end the program as usual and runs
    /// continue from their last checkpoint.
    pub fn on_signals() -> Self {
        static INSTALLED: OnceLock<Interrupt> = OnceLock::new();
        INSTALLED
            .get_or_init(|| {
                let interrupt = Self::default();
                let asked = interrupt.clone();
                let installed = ctrlc::set_handler(move || {
                    if asked.0.swap(true, Ordering::Relaxed) {
                        std::process::exit(130);
                    }
                    eprintln!("\nstopping after this epoch; once more to stop at once");
                });
                if let Err(error) = installed {
                    tracing::warn!("no Ctrl-C handler: {error}");
                }
                interrupt
            })
            .clone()
    }

    /// Asks to stop, as Ctrl-C does.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
