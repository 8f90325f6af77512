//! `circuit …`: circuits on a model's own task, and what to do with one that was found.

mod ablate;
mod compare;
mod export;
mod import;
mod materialize;
mod show;
mod source;
mod train;

use clap::{Args, Subcommand};

/// Train circuits on a model's own task, ablate them, draw and compare them, exchange them with Python, make models of
/// them
#[derive(Args)]
pub(crate) struct Circuit {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Train(train::CircuitTrain),
    Ablate(ablate::Ablate),
    Show(show::Show),
    Compare(compare::Compare),
    Export(export::Export),
    Import(import::Import),
    Materialize(materialize::Materialize),
}

impl Circuit {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Train(command) => command.run(),
            What::Ablate(command) => command.run(),
            What::Show(command) => command.run(),
            What::Compare(command) => command.run(),
            What::Export(command) => command.run(),
            What::Import(command) => command.run(),
            What::Materialize(command) => command.run(),
        }
    }
}
