//! `circuit resize CIRCUIT --share SHARE --out DIR`: a circuit of another size.

use std::path::PathBuf;

use clap::Args;
use ns_train::resize_circuit;

use crate::{backend::BackendOption, output::say};

/// Write the circuit of the best units of a circuit, by their mask parameters
///
/// The units (neurons, or single weights) of all masked layers are ranked together. The new folder holds masks,
/// configuration and recipe, so every command takes it as a circuit. Units with equal mask parameters are kept together or
/// not at all.
///
/// Example: cargo xtask circuit resize runs/attribution-0 --share 0.02 --out runs/attribution-2-percent
#[derive(Args)]
pub(crate) struct Resize {
    /// Folder of a circuit, or a mask file
    circuit: PathBuf,
    /// Share of the units that are kept, from 0 to 1
    #[arg(long)]
    share: f64,
    /// Folder of the new circuit
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    backend: BackendOption,
}

impl Resize {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let size = resize_circuit(&self.circuit, self.share, &self.out, &self.backend.device()?)?;
        say!("{}: {} of {} units", self.out.display(), size.kept, size.units);
        if size.tied > 0 {
            say!("{} units have the mask parameter of the last of them; they are all kept, or none", size.tied);
        }
        Ok(())
    }
}
