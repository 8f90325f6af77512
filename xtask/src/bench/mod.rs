//! `bench …`: speed, as a ratio.

mod backends;
mod forward;
mod gpt2_probe;
mod mask;
mod memory;
mod peer;
mod probe;

use clap::{Args, Subcommand};

/// Measure speed, as a ratio to PyTorch where Python has it
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Subcommand)]
enum BenchCommand {
    Backends(backends::BenchBackends),
    Forward(forward::BenchForward),
    Mask(mask::BenchMask),
    Probe(probe::BenchProbe),
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            BenchCommand::Backends(backends) => backends.run(),
            BenchCommand::Forward(forward) => forward.run(),
            BenchCommand::Mask(mask) => mask.run(),
            BenchCommand::Probe(probe) => probe.run(),
        }
    }
}
