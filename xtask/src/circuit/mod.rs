//! `circuit …`: what to do with a circuit that was found.

mod export;
mod import;
mod materialize;

use clap::{Args, Subcommand};

/// Exchange circuits with Python NeuroSurgeon, and make models of them
#[derive(Args)]
pub(crate) struct Circuit {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Export(export::Export),
    Import(import::Import),
    Materialize(materialize::Materialize),
}

impl Circuit {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Export(command) => command.run(),
            What::Import(command) => command.run(),
            What::Materialize(command) => command.run(),
        }
    }
}
