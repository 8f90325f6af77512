//! `circuit ablate RUN`: what the model does without its circuit.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use clap::Args;
use ns_train::{AblationStudy, Behaviour, ablate_run, ablation_table, write_json};

use crate::{backend::BackendOption, output::say};

/// Cut a trained circuit out of its model, layer by layer or set by set, beside random controls
///
/// For each set of masked layers: the circuit alone, the circuit set to zero, its weights drawn anew, and random masks
/// of the same size, with the exact p-value of the circuit's ablation among them. Accuracy, divergence (KL) from the
/// full model's answers, and with --answers the agreement between two of them, on the test examples of the run.
#[derive(Args)]
pub(crate) struct Ablate {
    /// Folder of a run of `circuit train`
    run: PathBuf,
    /// Random masks for each control
    #[arg(long, default_value_t = 20)]
    controls: usize,
    /// Ablate each masked layer alone, too
    #[arg(long)]
    per_layer: bool,
    /// Ablate these layers together, too, e.g. attention=*.attention.*; may be repeated
    #[arg(long, value_name = "NAME=LAYER,LAYER")]
    subset: Vec<String>,
    /// Two answers whose scores are compared, e.g. token ids
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 2)]
    answers: Vec<usize>,
    /// Write the report to this file (JSON)
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
            answers: <[usize; 2]>::try_from(self.answers).ok(),
        };
        let report = ablate_run(&self.run, &study, &self.backend.device()?)?;
        if let Some(path) = &self.json {
            write_json(path, &report)?;
        }
        say!("full model: {}\n", behaviour(&report.full));
        say!("{}", ablation_table(&report).trim_end());
        Ok(())
    }
}

fn parse_subset(text: &str) -> anyhow::Result<(String, Vec<String>)> {
    let (name, layers) = text.split_once('=').with_context(|| format!("`{text}` is not NAME=LAYER,LAYER"))?;
    let layers: Vec<String> =
        layers.split(',').map(str::trim).filter(|layer| !layer.is_empty()).map(Into::into).collect();
    anyhow::ensure!(!name.is_empty() && !layers.is_empty(), "`{text}` is not NAME=LAYER,LAYER");
    Ok(BTreeMap::from([(name.to_string(), layers)]).pop_first().unwrap_or_default())
}

fn behaviour(measured: &Behaviour) -> String {
    let mut text = format!("accuracy {:.3}", measured.accuracy);
    if let (Some(agreement), Some(difference)) = (measured.agreement, measured.logit_difference) {
        text += &format!(", agreement {agreement:.3}, logit difference {difference:.2}");
    }
    text
}
