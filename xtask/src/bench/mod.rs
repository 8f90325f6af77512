//! `bench …`: measures speed, mostly as a ratio to PyTorch.

mod backends;
mod forward;
mod gpt2_probe;
mod mask;
mod memory;
mod peer;
mod probe;

use clap::Args;

use crate::subcommands::subcommands;

/// Measure the speed of forward passes, training steps of probes and steps of masks
///
/// Each command prints median times and writes all times with --json. With --peer python, `forward` and `probe` also
/// run the same work in PyTorch and print the ratio. Both sides take turns in one run, because times on a shared
/// machine vary more than ratios. tests/peer/README.md lists what Python needs.
///
/// Example: cargo xtask bench probe --shape gpt2-small
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: BenchCommand,
}

subcommands!(BenchCommand {
    Backends(backends::BenchBackends),
    Forward(forward::BenchForward),
    Mask(mask::BenchMask),
    Probe(probe::BenchProbe),
});

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.command.run()
    }
}
