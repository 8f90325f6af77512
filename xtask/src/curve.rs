//! `curve RUN…`: faithfulness of circuits of growing size.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use ns_train::recipe::{Metric, SetName};
use ns_train::{
    CurveReport, CurveSettings, FoundCircuit, circuit_of_run, curve_of_run, curve_summary, curve_table, draw_curve,
    smallest_circuit, write_json,
};
use serde::Serialize;

use crate::backend::BackendOption;
use crate::judging::{AblationOption, SetOption};
use crate::output::say;

/// Measure how much of a model's behaviour circuits of growing size keep
///
/// The units of a finished run (of a circuit, a probe or an attribution) are ranked by their mask parameters. Circuits of
/// the best 0.1% to 100% of them are measured alone and removed from the model, next to circuits of units in random order.
/// Faithfulness is 0 for the model without any unit and 1 for the whole model. CPR is the area under the curve (0.999 at
/// best), CMD the area between the curve and 1 (0 at best), as in the Mechanistic Interpretability Benchmark.
///
/// Of several runs, for example those of a sweep of l0_lambda, the circuits that they found are measured on the dev set.
/// The smallest one that keeps the share --keep of the behaviour there is chosen, and the curve of its run is measured on
/// --set, with the circuits of all runs as points.
///
/// Writes curve.json, curve.png and curve.svg.
///
/// Example: cargo xtask curve runs/attribution-0
#[derive(Args)]
pub(crate) struct Curve {
    /// Folders of finished runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// What is measured
    #[arg(long, value_enum, default_value = "logit-difference")]
    metric: MetricOption,
    /// The examples on which it is measured
    #[arg(long, value_enum, default_value = "test")]
    set: SetOption,
    /// What replaces the outputs of removed units; all but zero need neuron masks
    #[arg(long, value_enum, default_value = "zero")]
    ablation: AblationOption,
    /// Number of random rankings
    #[arg(long, default_value_t = 10)]
    random: usize,
    /// Share of the behaviour that the smallest circuit must keep
    #[arg(long, default_value_t = 0.9)]
    keep: f64,
    /// Folder of the results [default: RUN for one run, curve in the folder of the first for several]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

#[derive(Clone, Copy, ValueEnum)]
enum MetricOption {
    Accuracy,
    LogitDifference,
}

/// What the command writes.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    curve: CurveReport,
    /// The circuits of all runs on the dev set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dev: Vec<FoundCircuit>,
    /// The circuits of all runs on the set of the curve.
    circuits: Vec<FoundCircuit>,
}

impl Curve {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        ensure!(self.keep.is_finite() && self.keep > 0.0, "--keep is {}, but it must be above 0", self.keep);
        let device = self.backend.device()?;
        let settings = self.settings();
        let (mut run, mut dev) = (self.runs[0].clone(), Vec::new());
        if self.runs.len() > 1 {
            let on_dev = CurveSettings { set: SetName::Dev, ..settings };
            let measured = self.runs.iter().map(|run| circuit_of_run(run, &on_dev, &device));
            let reason = "the choice among several runs is made on the dev set, e.g. with data.split.seeded.dev = 0.1";
            dev = measured.collect::<Result<_, _>>().context(reason)?;
            say!("{}", choice(&dev, self.keep));
            run = smallest_circuit(&dev, self.keep).map_or(run, |chosen| chosen.run.clone());
        }
        let curve = curve_of_run(&run, &settings, &device)?;
        let others = self.runs.iter().map(|other| match *other == run {
            true => Ok(curve.found.clone()),
            false => circuit_of_run(other, &settings, &device),
        });
        let circuits = others.collect::<Result<Vec<_>, _>>()?;
        let out = self.out.clone().unwrap_or_else(|| default_folder(&self.runs));
        say!("{}\n{}", curve_table(&curve).trim_end(), curve_summary(&curve, self.keep)?);
        draw_curve(&out, &curve, &circuits)?;
        write_json(out.join("curve.json"), &Report { curve, dev, circuits })?;
        say!("{}", out.join("curve.png").display());
        Ok(())
    }

    fn settings(&self) -> CurveSettings {
        CurveSettings {
            metric: match self.metric {
                MetricOption::Accuracy => Metric::Accuracy,
                MetricOption::LogitDifference => Metric::LogitDifference,
            },
            set: self.set.name(),
            ablation: self.ablation.name(),
            random: self.random,
        }
    }
}

/// The circuits on the dev set in lines, and which of them is chosen.
fn choice(dev: &[FoundCircuit], keep: f64) -> String {
    let line = |circuit: &FoundCircuit| {
        format!(
            "{}: λ {:e}, {} of {} units, faithfulness on dev {:.3}",
            circuit.run.display(),
            circuit.l0_lambda,
            circuit.size,
            circuit.units,
            circuit.faithfulness
        )
    };
    let lines = dev.iter().map(line).collect::<Vec<_>>().join("\n");
    match smallest_circuit(dev, keep) {
        Some(chosen) => format!("{lines}\nchosen: {}", chosen.run.display()),
        None => format!("{lines}\nno circuit keeps {}% of the behaviour on dev; the first run is shown", keep * 100.0),
    }
}

fn default_folder(runs: &[PathBuf]) -> PathBuf {
    match runs {
        [run] => run.clone(),
        _ => runs[0].parent().unwrap_or(Path::new("")).join("curve"),
    }
}
