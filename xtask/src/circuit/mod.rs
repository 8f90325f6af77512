//! `circuit …`: trains circuits on a model's own task, and ablates, draws, compares and converts circuits.

mod ablate;
mod compare;
mod export;
mod import;
mod materialize;
mod show;
mod source;
mod train;

use clap::Args;

use crate::subcommands::subcommands;

/// Train, ablate, draw, compare and convert circuits
///
/// A circuit is the part of a model's weights that binary masks keep. On disk, a circuit is the folder of a finished
/// run of `probe` or `circuit train`, the folder of an export or import, or a mask file with its configuration.
/// `circuit train` and `circuit ablate` work with circuits on the model's own task; the other commands take any
/// circuit.
///
/// Example: cargo xtask circuit train models/digits/circuit-vit.toml, then cargo xtask circuit show
/// runs/circuit-vit-0/lambda-1e-4
#[derive(Args)]
pub(crate) struct Circuit {
    #[command(subcommand)]
    command: CircuitCommand,
}

subcommands!(CircuitCommand {
    Train(train::CircuitTrain),
    Ablate(ablate::Ablate),
    Show(show::Show),
    Compare(compare::Compare),
    Export(export::Export),
    Import(import::Import),
    Materialize(materialize::Materialize),
});

impl Circuit {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.command.run()
    }
}
