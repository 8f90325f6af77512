//! The commands of the binary `neurosurgeon`, which `cargo xtask` runs.
//!
//! [`main`] parses and dispatches, and each command has a file of its own. The work is done by ns-train.

mod activation_cache;
pub mod backend;
mod bench;
mod circuit;
mod demo;
mod device_memory;
mod embed;
mod fetch;
mod inspect;
mod jobs;
mod output;
mod probe;
mod subnetwork;
mod train;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What is logged unless `RUST_LOG` says otherwise. wgpu tries every driver that a machine might have, and calls each
/// that it has not an error.
const LOGGED: &str = "warn,wgpu_hal=off";

/// Find the subnetwork of a trained network that computes a given thing, and test whether the network needs it.
#[derive(Parser)]
#[command(name = "neurosurgeon", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Train(train::Train),
    Probe(probe::Probe),
    Subnetwork(subnetwork::Subnetwork),
    Circuit(circuit::Circuit),
    Inspect(inspect::Inspect),
    Fetch(fetch::Fetch),
    Embed(embed::Embed),
    Verify(verify::Verify),
    Bench(bench::Bench),
}

/// Runs the command that the process's arguments name. An error is printed on stderr.
pub fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| LOGGED.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    if backend::list_is_wanted(std::env::args()) {
        backend::print_list();
        return ExitCode::SUCCESS;
    }
    let command = Arguments::parse().command;
    match device_memory::or_say_so(|| run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Probe(command) => command.run(),
        Command::Subnetwork(command) => command.run(),
        Command::Circuit(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Fetch(command) => command.run(),
        Command::Embed(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Bench(command) => command.run(),
    }
}

/// The error with its causes, each said once: many messages hold their cause already.
fn explain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        _ if said.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}
