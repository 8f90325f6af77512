//! `bench probe`: a training step of a circuit probe.

use std::path::PathBuf;

use clap::Args;
use ns_train::{ProbeRecipe, StepTimes, load_recipe, time_probe_steps};
use serde_json::json;

use super::peer::PeerOptions;
use crate::{backend::BackendOption, output::say};

/// Time a training step of a circuit probe, and of the same probe in Python NeuroSurgeon with --peer python
///
/// Rounds of both alternate in one run, because times on a shared machine mean little and ratios more.
#[derive(Args)]
pub(crate) struct BenchProbe {
    /// The recipe; the Python peer knows the shipped a² attention probe only
    #[arg(long, default_value = "models/arithmetic/probe-a2-attn.toml")]
    recipe: PathBuf,
    /// Timed steps a round
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Steps before the clock starts
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    peer: PeerOptions,
    #[command(flatten)]
    backend: BackendOption,
}

impl BenchProbe {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let recipe = load_recipe::<ProbeRecipe>(&self.recipe)?.resolve(&self.recipe)?;
        let device = self.backend.device()?;
        let (steps, warmup, batch) = (self.steps.to_string(), self.warmup.to_string(), recipe.batch_size.to_string());
        let model = recipe.model.to_string_lossy().into_owned();
        let (mut ours, mut theirs, mut peak, mut versions) = (Vec::new(), Vec::new(), 0.0_f64, json!(null));
        for round in 1..=self.rounds {
            let times = time_probe_steps(&recipe, self.steps, self.warmup, &device)?;
            let mut line = format!("round {round}: {:.2} ms a step", times.median());
            ours.extend(times.milliseconds);
            let arguments = ["--model", &model, "--steps", &steps, "--warmup", &warmup, "--batch", &batch];
            if let Some(times) = self.peer.run("bench_probe.py", &arguments)? {
                let median = StepTimes { milliseconds: times.all_ms.clone() }.median();
                line += &format!(", PyTorch {median:.2} ms");
                theirs.extend(times.all_ms);
                (peak, versions) = (peak.max(times.peak_rss_mb), times.versions);
            }
            say!("{line}");
        }
        let (ours, theirs) = (StepTimes { milliseconds: ours }, StepTimes { milliseconds: theirs });
        let own_peak = peak_memory_mb();
        say!("median of {} steps: {:.2} ms, peak memory {own_peak:.0} MB", ours.milliseconds.len(), ours.median());
        if !theirs.milliseconds.is_empty() {
            let ratio = ours.median() / theirs.median();
            say!("PyTorch: {:.2} ms, peak memory {peak:.0} MB, {versions}", theirs.median());
            say!("ratio ours / PyTorch: {ratio:.2}");
        }
        if let Some(path) = &self.json {
            let measured = json!({
                "recipe": self.recipe,
                "ours": { "median_ms": ours.median(), "all_ms": ours.milliseconds, "peak_rss_mb": own_peak },
                "peer": { "median_ms": theirs.median(), "all_ms": theirs.milliseconds, "peak_rss_mb": peak,
                          "versions": versions },
            });
            std::fs::write(path, format!("{measured:#}\n"))?;
        }
        Ok(())
    }
}

/// Largest resident memory of this process so far; NaN where the system does not tell.
fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}
