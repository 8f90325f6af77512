//! Stop requests: Ctrl-C, SIGTERM and SIGHUP end training after the current epoch, with a checkpoint.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// A stop request that clones share.
///
/// After the first Ctrl-C (or SIGTERM, which cluster schedulers send, or SIGHUP, when a terminal closes), training
/// finishes the current epoch and writes a checkpoint. The second one ends the program immediately, with status 130.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Flags of the interrupts that this one is a child of.
    parents: Vec<Arc<AtomicBool>>,
}

impl Interrupt {
    /// Returns the interrupt of the process, which Ctrl-C, SIGTERM and SIGHUP set. Every call returns the same one.
    ///
    /// If the signal handler cannot be installed, a warning is logged and signals end the program as usual.
    pub fn on_signals() -> Self {
        static INSTALLED: OnceLock<Interrupt> = OnceLock::new();
        INSTALLED
            .get_or_init(|| {
                let interrupt = Self::default();
                let handled = interrupt.clone();
                let installed = on_each_signal(move || {
                    if handled.asked.swap(true, Ordering::Relaxed) {
                        std::process::exit(130);
                    }
                    eprintln!("\nstopping after this epoch; press Ctrl-C again to stop immediately");
                });
                if let Err(error) = installed {
                    tracing::warn!("cannot install a Ctrl-C handler: {error}");
                }
                interrupt
            })
            .clone()
    }

    /// Requests a stop, as Ctrl-C does.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Returns whether a stop was requested.
    pub fn asked(&self) -> bool {
        std::iter::once(&self.asked).chain(&self.parents).any(|asked| asked.load(Ordering::Relaxed))
    }

    /// Creates a child. A stop request on this interrupt also reaches the child, but not the reverse.
    pub fn child(&self) -> Self {
        let parents = std::iter::once(&self.asked).chain(&self.parents).cloned().collect();
        Self { asked: Arc::default(), parents }
    }
}

/// Calls `handle` after each signal that asks the program to end, on a thread of its own.
#[cfg(unix)]
fn on_each_signal(handle: impl Fn() + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let wait = move || signals.forever().for_each(|_| handle());
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

#[cfg(not(unix))]
fn on_each_signal(handle: impl Fn() + Send + 'static) -> std::io::Result<()> {
    ctrlc::set_handler(handle).map_err(std::io::Error::other)
}
