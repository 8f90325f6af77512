//! Commands of the binary `neurosurgeon`, which `cargo xtask` runs inside this repository.
//!
//! [`main`] parses the arguments and runs the command. Each command has its own file. Training, evaluation and figures
//! are in ns-train.

mod activation_cache;
mod activations;
pub mod backend;
mod bench;
mod circuit;
mod curve;
mod data;
mod demo;
mod device_memory;
mod embed;
mod evaluate;
mod fetch;
mod inspect;
mod jobs;
mod judging;
mod output;
mod patch;
mod recipe_runs;
mod report;
mod results;
mod subcommands;
mod train;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::output::explain;
use crate::subcommands::subcommands;

/// Log filter that applies if `RUST_LOG` is not set. wgpu tries every driver that a machine might have and logs each
/// missing one as an error, so `wgpu_hal` is off.
const DEFAULT_LOG_FILTER: &str = "warn,wgpu_hal=off";

/// Find the subnetwork of a trained model that computes a variable, and test whether the model needs it
///
/// Training commands read a recipe (TOML) and write a run folder with results, masks, checkpoints and figures. Every
/// command explains itself with --help. In a checkout of the repository, `cargo xtask` runs this program.
///
/// Example: cargo xtask demo
#[derive(Parser)]
#[command(name = "neurosurgeon", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

subcommands!(Command {
    Demo(demo::Demo),
    Train(train::Train),
    Circuit(circuit::Circuit),
    Curve(curve::Curve),
    Evaluate(evaluate::Evaluate),
    Patch(patch::Patch),
    Results(results::Results),
    Activations(activations::ActivationsCommand),
    Inspect(inspect::Inspect),
    Fetch(fetch::Fetch),
    Data(data::Data),
    Embed(embed::Embed),
    Verify(verify::Verify),
    Bench(bench::Bench),
});

/// Checks that arguments, without the name of the program, are those of a command. Tests of the documentation use it.
///
/// # Errors
/// Returns the message for the user if they are not.
pub fn check_arguments(arguments: &[String]) -> Result<(), String> {
    let arguments = std::iter::once("neurosurgeon").chain(arguments.iter().map(String::as_str));
    Arguments::try_parse_from(arguments).map(drop).map_err(|error| error.to_string())
}

/// Parses the arguments of the process and runs the command. Prints an error to stderr and returns a failure status.
pub fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_LOG_FILTER.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    if backend::list_is_requested(std::env::args()) {
        backend::print_list();
        return ExitCode::SUCCESS;
    }
    let command = Arguments::parse().command;
    match device_memory::catch_out_of_memory(|| command.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}
