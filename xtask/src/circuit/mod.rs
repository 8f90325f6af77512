//! `circuit …`: ablates, tests, draws, compares and converts circuits.

mod ablate;
mod compare;
mod export;
mod import;
mod materialize;
mod resize;
mod show;
mod source;
mod test;

use clap::Args;

use crate::subcommands::subcommands;

/// Ablate, test, draw, compare and convert circuits
///
/// A circuit is the part of a model's weights that binary masks keep. On disk, a circuit is the folder of a finished run
/// of a circuit or a probe (`train`), the folder of an export or import, or a mask file with its configuration. `circuit
/// ablate` and `circuit test` need a run whose model has a head; the other commands take any circuit.
///
/// Example: cargo xtask train models/digits/circuit-vit.toml, then cargo xtask circuit show
/// runs/circuit-vit/circuit-vit-circuit_config.l0_lambda=1e-4-0
#[derive(Args)]
pub(crate) struct Circuit {
    #[command(subcommand)]
    command: CircuitCommand,
}

subcommands!(CircuitCommand {
    Ablate(ablate::Ablate),
    Test(test::Test),
    Show(show::Show),
    Compare(compare::Compare),
    Export(export::Export),
    Import(import::Import),
    Materialize(materialize::Materialize),
    Resize(resize::Resize),
});

impl Circuit {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.command.run()
    }
}
