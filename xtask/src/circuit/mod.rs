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
    command: CircuitCommand,
}

#[derive(Subcommand)]
enum CircuitCommand {
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
        match self.command {
            CircuitCommand::Train(command) => command.run(),
            CircuitCommand::Ablate(command) => command.run(),
            CircuitCommand::Show(command) => command.run(),
            CircuitCommand::Compare(command) => command.run(),
            CircuitCommand::Export(command) => command.run(),
            CircuitCommand::Import(command) => command.run(),
            CircuitCommand::Materialize(command) => command.run(),
        }
    }
}
