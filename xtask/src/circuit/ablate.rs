//! `circuit ablate RUN`: what the model does without its circuit.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use clap::Args;
use ns_train::{AblationReport, AblationRow, AblationStudy, Behaviour, ablate_run, markdown};

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
            std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        say!("full model: {}\n", behaviour(&report.full));
        say!("{}", table(&report).trim_end());
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

fn table(report: &AblationReport) -> String {
    let two = report.full.agreement.is_some();
    let mut header = vec![
        "layers",
        "circuit / max",
        "circuit alone",
        "KL",
        "zero ablated",
        "KL",
        "random weights",
        "random masks",
        "p",
        "complement masks",
        "p",
    ];
    if two {
        header.extend(["agreement ablated", "logit difference ablated"]);
    }
    let cells = |row: &AblationRow| {
        let controls = |controls: Option<ns_train::Controls>| match controls {
            Some(c) => [format!("{:.3} ± {:.3}", c.accuracy_mean, c.accuracy_sd), format!("{:.3}", c.p_value)],
            None => ["n/a".into(), "n/a".into()],
        };
        let number = |value: f64| format!("{value:.3}");
        let mut cells = vec![
            row.layers.clone(),
            format!("{} / {}", row.l0, row.l0_max),
            number(row.circuit_only.accuracy),
            number(row.circuit_only.kl_to_full),
            number(row.zero_ablate.accuracy),
            number(row.zero_ablate.kl_to_full),
            number(row.random_ablate.accuracy),
        ];
        cells.extend(controls(row.randomly_sampled));
        cells.extend(controls(row.complement_sampled));
        if two {
            let or_none = |value: Option<f64>| value.map_or("n/a".into(), number);
            cells.extend([or_none(row.zero_ablate.agreement), or_none(row.zero_ablate.logit_difference)]);
        }
        cells
    };
    markdown(&header, &report.rows.iter().map(cells).collect::<Vec<_>>())
}
