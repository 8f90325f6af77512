//! Ctrl-C, politely.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// Whether somebody asked the program to stop. The first Ctrl-C (or SIGTERM, as a cluster sends it) lets the epoch
/// finish and a checkpoint be written; the second ends the program at once.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Who may ask in its place.
    parents: Vec<Arc<AtomicBool>>,
}

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
                    if asked.asked.swap(true, Ordering::Relaxed) {
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
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn asked(&self) -> bool {
        std::iter::once(&self.asked).chain(&self.parents).any(|asked| asked.load(Ordering::Relaxed))
    }

    /// One that is asked whenever this one is, but not the other way round.
    pub fn child(&self) -> Self {
        let parents = std::iter::once(&self.asked).chain(&self.parents).cloned().collect();
        Self { asked: Arc::default(), parents }
    }
}
