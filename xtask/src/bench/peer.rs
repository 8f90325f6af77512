//! Runs the same work in Python, so that both are measured in one run.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use crate::output::say;

/// Exit status of a peer script if a Python package that it needs is not installed.
const SKIPPED: i32 = 3;

/// The implementation to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// PyTorch
    Python,
}

/// Whether to run a peer, and where it is installed.
#[derive(Args, Clone, Debug)]
pub(crate) struct PeerOptions {
    /// Also run the same work in this implementation, in alternating rounds
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// Python program with torch, transformers and NeuroSurgeon (see tests/peer/README.md)
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Checkout of Python NeuroSurgeon, if it is not installed
    #[arg(long)]
    neurosurgeon: Option<PathBuf>,
}

/// The JSON line that a peer script prints at its end.
#[derive(Deserialize)]
pub(crate) struct PeerTimes {
    pub(crate) all_ms: Vec<f64>,
    pub(crate) peak_rss_mb: f64,
    pub(crate) versions: Value,
}

/// A running peer script. It does the work once for each line on its stdin, so that both sides can take turns.
pub(crate) struct PeerProcess {
    child: Child,
    requests: ChildStdin,
    responses: Lines<BufReader<ChildStdout>>,
}

impl PeerProcess {
    /// Reads the script's next line of JSON.
    pub(crate) fn read(&mut self) -> anyhow::Result<Value> {
        let line = self.responses.next().context("the peer script ended early; see its message above")??;
        serde_json::from_str(&line).with_context(|| format!("the peer script printed invalid JSON: {line}"))
    }

    /// Lets the script do the work once, and reads its line of JSON.
    pub(crate) fn run_once(&mut self) -> anyhow::Result<Value> {
        writeln!(self.requests)?;
        self.read()
    }
}

impl Drop for PeerProcess {
    /// Ends the script, so that no process is left behind.
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _has_ended = self.child.wait();
    }
}

impl PeerOptions {
    /// The command that runs a script of tests/peer.
    pub(crate) fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(format!("tests/peer/{script}")).args(arguments);
        command
    }

    /// Like [`command`](Self::command), but for a script that imports NeuroSurgeon.
    pub(crate) fn reference_command(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(script, arguments);
        if let Some(folder) = &self.neurosurgeon {
            command.arg("--neurosurgeon").arg(folder);
        }
        command
    }

    /// Starts a script that takes turns, and returns it with its first line of JSON.
    ///
    /// Returns `None` if no peer is requested. Also returns `None`, after a line `SKIPPED: …`, if Python or one of its
    /// packages is missing.
    pub(crate) fn start(&self, mut command: Command) -> anyhow::Result<Option<(PeerProcess, Value)>> {
        let Some(Peer::Python) = self.peer else { return Ok(None) };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Some(mut child) = self.unless_missing(child) else { return Ok(None) };
        let (requests, responses) = (child.stdin.take(), child.stdout.take());
        let (requests, responses) = requests.zip(responses).context("the peer script has no stdin or stdout")?;
        let mut peer = PeerProcess { child, requests, responses: BufReader::new(responses).lines() };
        match peer.read() {
            Ok(first) => Ok(Some((peer, first))),
            // The script has printed on stderr what is missing.
            Err(_) if peer.child.wait()?.code() == Some(SKIPPED) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a script of tests/peer to its end and returns its times; `None` in the cases of [`start`](Self::start).
    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> anyhow::Result<Option<PeerTimes>> {
        let Some(Peer::Python) = self.peer else { return Ok(None) };
        let output = self.reference_command(script, arguments).arg("--json").output();
        let Some(output) = self.unless_missing(output) else { return Ok(None) };
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        if output.status.code() == Some(SKIPPED) {
            say!("{}", stdout.lines().chain(stderr.lines()).last().unwrap_or("SKIPPED"));
            return Ok(None);
        }
        anyhow::ensure!(output.status.success(), "tests/peer/{script} failed:\n{stderr}");
        let line = stdout.lines().last().context("the peer script printed nothing")?;
        Ok(Some(serde_json::from_str(line).with_context(|| format!("the peer script printed invalid JSON: {line}"))?))
    }

    /// Prints a line `SKIPPED: …` if Python could not be started.
    fn unless_missing<T>(&self, started: std::io::Result<T>) -> Option<T> {
        started.inspect_err(|error| say!("SKIPPED: cannot run `{}`: {error}", self.python.display())).ok()
    }
}
