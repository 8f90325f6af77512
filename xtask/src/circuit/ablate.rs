//! `circuit ablate RUN`: evaluates a model with its circuit ablated.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ns_train::{AblationStudy, Behaviour, ablate_run, ablation_table, replaced_table};

use crate::{backend::BackendOption, judging::AblationOption, output::say, report::write_report};

/// Ablate a trained circuit as a whole, by layer or by sets of layers, next to random controls
///
/// The command reads a run folder of `train` and evaluates on the test examples of its recipe, with the answers of its
/// [behaviour] or, without one, the classes of the model's head. The table has
/// one row per set of masked layers, with the accuracy of the circuit alone, of the model with the circuit set to zero,
/// with the circuit replaced by newly initialised weights, and with random masks of the same size set to zero. Random
/// masks are sampled from all weights of the layers and from outside the circuit (complement); p is the exact p-value
/// of the ablated accuracy among them. KL is the divergence from the full model in nats. No file is written without
/// --json.
///
/// Example: cargo xtask circuit ablate runs/circuit-vit/circuit-vit-circuit_config.l0_lambda=1e-4-0 --per-layer
#[derive(Args)]
pub(crate) struct Ablate {
    /// Folder of a finished run of a circuit or a probe
    run: PathBuf,
    /// Number of random masks per control
    #[arg(long, default_value_t = 20)]
    controls: usize,
    /// Also ablate each masked layer on its own
    #[arg(long)]
    per_layer: bool,
    /// Also ablate these layers together, e.g. attention=*.attention.*; may be repeated
    #[arg(long, value_name = "NAME=LAYER,LAYER")]
    subset: Vec<String>,
    /// Also replace the outputs of the circuit's neurons, next to as many random ones; may be repeated
    #[arg(long, value_enum, value_name = "ABLATION")]
    ablation: Vec<AblationOption>,
    /// Also measure the logit difference: the right answer minus the best other one
    #[arg(long)]
    logit_difference: bool,
    /// Also write the report to this file (JSON)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

impl Ablate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let study = AblationStudy {
            controls: self.controls,
            per_layer: self.per_layer,
            subsets: self.subset.iter().map(|subset| parse_subset(subset)).collect::<anyhow::Result<_>>()?,
            logit_difference: self.logit_difference,
            replaced: self
                .ablation
                .iter()
                .filter(|name| **name != AblationOption::Zero)
                .map(|name| name.name())
                .collect(),
            ..AblationStudy::default()
        };
        let report = ablate_run(&self.run, &study, &self.backend.device()?)?;
        write_report(self.json.as_deref(), &report)?;
        say!("full model: {}\n", behaviour(&report.full));
        say!("{}", ablation_table(&report).trim_end());
        if let Some(replaced) = replaced_table(&report) {
            say!("\nOutputs of neurons replaced:\n\n{}", replaced.trim_end());
        }
        Ok(())
    }
}

/// Parses `NAME=LAYER,LAYER`.
fn parse_subset(text: &str) -> anyhow::Result<(String, Vec<String>)> {
    let invalid = || format!("`{text}` is not a set of layers; write NAME=LAYER,LAYER, e.g. attention=*.attention.*");
    let (name, layers) = text.split_once('=').with_context(invalid)?;
    let layers: Vec<String> =
        layers.split(',').map(str::trim).filter(|layer| !layer.is_empty()).map(Into::into).collect();
    anyhow::ensure!(!name.is_empty() && !layers.is_empty(), invalid());
    Ok((name.to_string(), layers))
}

/// Formats the accuracy and, if measured, the logit difference.
fn behaviour(measured: &Behaviour) -> String {
    let difference = measured.logit_difference.map(|difference| format!(", logit difference {difference:.2}"));
    format!("accuracy {:.3}{}", measured.accuracy, difference.unwrap_or_default())
}
