//! Helpers that run the binary: a temporary folder, and checks of the output.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use ns_train::Metrics;
use tempfile::TempDir;

/// A temporary folder with a recipe, for runs.
pub(crate) struct Work {
    pub(crate) folder: TempDir,
}

impl Work {
    pub(crate) fn new(recipe: &str) -> Self {
        let work = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(work.path("recipe.toml"), recipe).unwrap();
        work
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn train(&self, run: &str) -> Output {
        xtask(["train", path(&self.path("recipe.toml")), "--out", path(&self.path(run))])
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn weights(&self, run: &str) -> Vec<u8> {
        std::fs::read(self.path(run).join("model/model.safetensors")).unwrap()
    }

    pub(crate) fn metrics(&self, run: &str) -> Vec<Metrics> {
        let text = self.read(&format!("{run}/metrics.jsonl"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn command<const N: usize>(folder: &Path, arguments: [&str; N]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neurosurgeon"));
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG");
    command
}

pub(crate) fn xtask_in<const N: usize>(folder: &Path, arguments: [&str; N]) -> Output {
    command(folder, arguments).output().unwrap()
}

/// Runs the binary in an empty folder, so that it does not find files of the repository by chance.
pub(crate) fn xtask<const N: usize>(arguments: [&str; N]) -> Output {
    xtask_in(tempfile::tempdir().unwrap().path(), arguments)
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the stdout of a command, which must have succeeded.
#[track_caller]
pub(crate) fn success(output: &Output) -> String {
    assert!(output.status.success(), "{}", error(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the stderr of a command, which must have failed without a panic.
#[track_caller]
pub(crate) fn failure(output: &Output) -> String {
    let message = error(output);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!message.contains("panicked"), "{message}");
    message
}
