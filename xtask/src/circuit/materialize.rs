//! `circuit materialize CIRCUIT`: writes a circuit as a plain model.

use std::path::PathBuf;

use clap::Args;
use ns_train::{CircuitFiles, CircuitPart, materialize};

use crate::{backend::BackendOption, output::say};

/// Write a Hugging Face model whose weights are a circuit or its complement
///
/// The masks are multiplied into the weights. The folder contains config.json, model.safetensors and the files of the
/// model's tokenizer and preprocessor, and `transformers` loads it like the original model.
///
/// Example: cargo xtask circuit materialize runs/demo/probe-a2-attn-0 --out without-a2 --complement
#[derive(Args)]
pub(crate) struct Materialize {
    /// Folder of a finished run or of an import, or a mask file with circuit_config.json next to it
    circuit: PathBuf,
    /// Folder of the model [default: the model of the run]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder to write
    #[arg(long)]
    out: PathBuf,
    /// Keep everything except the circuit
    #[arg(long)]
    complement: bool,
    /// Also remove hidden units of MLPs that the masks have switched off
    ///
    /// A unit is removed if all weights into it or all weights out of it are 0. The matrices and the size in
    /// config.json get smaller, to the size that the largest block needs; the outputs of the model stay the same. All
    /// masks must be on layers of MLPs, and neuron masks on the first layer of each.
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
