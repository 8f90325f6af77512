//! The same work in Python, measured in the same run.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::output::say;

/// Exit status of a peer script that lacks what it needs.
const SKIPPED: i32 = 3;

/// Whom to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// PyTorch
    Python,
}

/// Where the peer is.
#[derive(Args, Clone, Debug)]
pub(crate) struct PeerOptions {
    /// Do the same work there, too; rounds alternate
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// Python with torch, transformers and NeuroSurgeon (tests/peer/README.md)
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Checkout of NeuroSurgeon, where it is not installed
    #[arg(long)]
    neurosurgeon: Option<PathBuf>,
}

/// What a peer script prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PeerTimes {
    pub(crate) all_ms: Vec<f64>,
    pub(crate) peak_rss_mb: f64,
    pub(crate) versions: Value,
}

/// A peer script that does the work once for each line that it reads, so that both sides can take turns.
pub(crate) struct PeerProcess {
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl PeerProcess {
    /// The script's next line of JSON.
    pub(crate) fn read(&mut self) -> anyhow::Result<Value> {
        let line = self.answers.next().context("the peer script ended early; its message is above")??;
        serde_json::from_str(&line).with_context(|| format!("not the peer's JSON: {line}"))
    }

    /// Lets the script do the work once, and reads its line.
    pub(crate) fn ask(&mut self) -> anyhow::Result<Value> {
        writeln!(self.questions)?;
        self.read()
    }
}

impl Drop for PeerProcess {
    /// Leaves no process behind, whatever happened to it.
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

impl PeerOptions {
    /// Starts a script of tests/peer that takes turns; `None` when no peer is wanted, or (with a line that says
    /// SKIPPED) not to be had. Its first line is read and handed back.
    pub(crate) fn start(&self, script: &str, arguments: &[&str]) -> anyhow::Result<Option<(PeerProcess, Value)>> {
        self.start_command(self.command(script, arguments))
    }

    /// The same with a script that imports NeuroSurgeon.
    pub(crate) fn start_with_reference(
        &self,
        script: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Option<(PeerProcess, Value)>> {
        let mut command = self.command(script, arguments);
        self.add_neurosurgeon(&mut command);
        self.start_command(command)
    }

    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(format!("tests/peer/{script}")).args(arguments);
        command
    }

    fn add_neurosurgeon(&self, command: &mut Command) {
        if let Some(folder) = &self.neurosurgeon {
            command.arg("--neurosurgeon").arg(folder);
        }
    }

    fn start_command(&self, mut command: Command) -> anyhow::Result<Option<(PeerProcess, Value)>> {
        let Some(Peer::Python) = self.peer else { return Ok(None) };
        let mut child = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => {
                say!("SKIPPED: cannot run `{}`: {error}", self.python.display());
                return Ok(None);
            }
        };
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        let (questions, answers) = questions.zip(answers).context("the peer script has no pipes")?;
        let mut peer = PeerProcess { child, questions, answers: BufReader::new(answers).lines() };
        match peer.read() {
            Ok(first) => Ok(Some((peer, first))),
            // The script said itself, on stderr, what it lacks.
            Err(_) if peer.child.wait()?.code() == Some(SKIPPED) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a script of tests/peer; `None` when no peer is wanted, or (with a line that says SKIPPED) not to be had.
    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> anyhow::Result<Option<PeerTimes>> {
        let Some(Peer::Python) = self.peer else { return Ok(None) };
        let mut command = self.command(script, arguments);
        command.arg("--json");
        self.add_neurosurgeon(&mut command);
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => {
                say!("SKIPPED: cannot run `{}`: {error}", self.python.display());
                return Ok(None);
            }
        };
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        if output.status.code() == Some(SKIPPED) {
            say!("{}", stdout.lines().chain(stderr.lines()).last().unwrap_or("SKIPPED"));
            return Ok(None);
        }
        anyhow::ensure!(output.status.success(), "tests/peer/{script} failed:\n{stderr}");
        let line = stdout.lines().last().context("the peer script printed nothing")?;
        Ok(Some(serde_json::from_str(line).with_context(|| format!("not the peer's JSON: {line}"))?))
    }
}
