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
    what: What,
}

#[derive(Subcommand)]
enum What {
    Backends(backends::BenchBackends),
    Forward(forward::BenchForward),
    Mask(mask::BenchMask),
    Probe(probe::BenchProbe),
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Backends(backends) => backends.run(),
            What::Forward(forward) => forward.run(),
            What::Mask(mask) => mask.run(),
            What::Probe(probe) => probe.run(),
        }
    }
}
