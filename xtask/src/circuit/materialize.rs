//! `circuit materialize CIRCUIT`: a plain model.

use std::path::PathBuf;

use clap::Args;
use ns_train::{CircuitFiles, CircuitPart, materialize};

use crate::{backend::BackendOption, output::say};

/// Write a Hugging Face model folder with a circuit, or its complement, baked into the weights
///
/// `transformers` loads it as it does the model itself; its tokenizer and preprocessor are copied along.
#[derive(Args)]
pub(crate) struct Materialize {
    /// Folder of a finished probe run or of an export, or a file of masks with circuit_config.json beside it
    circuit: PathBuf,
    /// Folder of the model [default: the one that the run was of]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder to write
    #[arg(long)]
    out: PathBuf,
    /// Everything but the circuit
    #[arg(long)]
    complement: bool,
    /// Remove hidden units of MLPs that are dead without what was masked; all masks must lie on such units
    #[arg(long)]
    compact: bool,
    #[command(flatten)]
    backend: BackendOption,
}

impl Materialize {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let files = CircuitFiles::find(&self.circuit, None, self.model.as_deref())?;
        let circuit = files.load(&self.backend.device()?)?;
        let part = if self.complement { CircuitPart::Complement } else { CircuitPart::Circuit };
        let compaction = materialize(&circuit, part, self.compact, &files.model, &self.out)?;
        if let Some(compaction) = compaction {
            for mlp in &compaction.mlps {
                say!("{}: {} of {} units alive", mlp.layer, mlp.alive, compaction.before);
            }
            say!("{}: {} instead of {}", compaction.field, compaction.after, compaction.before);
        }
        say!("model in {}", self.out.display());
        Ok(())
    }
}
