//! `bench probe`: times training steps of a circuit probe.

use std::path::PathBuf;

use anyhow::Context;
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use ns_train::{Job, StepTimes, time_probe_steps};
use serde_json::{Value, json};

use super::{
    gpt2_probe::{Gpt2Shape, Rounds},
    memory::peak_memory_mb,
    peer::PeerOptions,
};
use crate::{activation_cache::ActivationCacheOption, backend::BackendOption, output::say, report::write_report};

/// Time training steps of circuit probes, also in Python NeuroSurgeon with --peer python
///
/// The command prints median times and peak memory and, with a peer, the ratio of both. Rounds of both sides alternate
/// in one run, because times on a shared machine vary more than ratios. GPT-2 small has random weights and needs no
/// files; its steps are timed after the first epoch has filled the activation cache. For GPT-2 small, Python runs the
/// whole model with NeuroSurgeon, and also hand-written PyTorch code for the probed block alone.
///
/// Example: cargo xtask bench probe --shape gpt2-small --peer python --neurosurgeon NeuroSurgeon
#[derive(Args)]
pub(crate) struct BenchProbe {
    /// Model, masks and batch to time; may be repeated
    #[arg(long, value_enum, default_values_t = [ProbeShape::Arithmetic])]
    shape: Vec<ProbeShape>,
    /// Block of GPT-2 small to probe, from 0; may be repeated [default: 0, 5 and 11]
    #[arg(long)]
    layer: Vec<usize>,
    /// Number of timed steps of GPT-2 small
    #[arg(long, default_value_t = 9)]
    gpt2_rounds: usize,
    /// Number of timed steps of GPT-2 small in NeuroSurgeon, which can take 15 seconds each [default: as --gpt2-rounds]
    #[arg(long)]
    peer_rounds: Option<usize>,
    /// Recipe of the arithmetic shape; the Python peer always runs the shipped a² attention probe
    #[arg(long, default_value = "models/arithmetic/probe-a2-attn.toml")]
    recipe: PathBuf,
    /// Number of timed steps per round of the arithmetic shape
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Number of untimed steps at the start of each round of the arithmetic shape
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Number of rounds of the arithmetic shape
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Write all times to this file (JSON)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    peer: PeerOptions,
    #[command(flatten)]
    activations: ActivationCacheOption,
    #[command(flatten)]
    backend: BackendOption,
}

/// A model with masks, and a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProbeShape {
    /// The probe of --recipe: by default, neuron masks on the shipped arithmetic model, 500 sequences of 3 tokens
    Arithmetic,
    /// GPT-2 small: weight masks on the attention of a block, 32 sequences of 15 tokens
    Gpt2Small,
    /// The published agreement sweep on GPT-2 small: neuron masks on the attention or the MLP of a block, 500 sequences
    /// of 15 tokens
    Agreement,
}

impl BenchProbe {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let device = self.backend.device()?;
        let mut measured = Vec::new();
        for shape in &self.shape {
            match shape {
                ProbeShape::Arithmetic => measured.push(self.arithmetic(&device)?),
                ProbeShape::Gpt2Small => measured.extend(self.gpt2(Gpt2Shape::WEIGHTS, &device)?),
                ProbeShape::Agreement => measured.extend(self.gpt2(Gpt2Shape::AGREEMENT, &device)?),
            }
        }
        write_report(self.json.as_deref(), &json!(measured))
    }

    fn gpt2(&self, shape: Gpt2Shape, device: &Device) -> anyhow::Result<Vec<Value>> {
        let layers = if self.layer.is_empty() { &[0, 5, 11] } else { &self.layer[..] };
        let rounds = Rounds {
            ours: self.gpt2_rounds,
            peers: self.peer_rounds.unwrap_or(self.gpt2_rounds),
            activation_cache_mb: self.activations.activation_cache_mb,
        };
        shape.measure(layers, rounds, &self.peer, device)
    }

    fn arithmetic(&self, device: &Device) -> anyhow::Result<Value> {
        let job = Job::single(&self.recipe)?;
        let batch = job.recipe.training.batch_size.to_string();
        let (steps, warmup) = (self.steps.to_string(), self.warmup.to_string());
        let recipe = job.recipe.clone().resolve(&self.recipe)?;
        let model =
            recipe.model_folder().context("the recipe must name a model folder")?.to_string_lossy().into_owned();
        let (mut ours, mut theirs, mut peak, mut versions) = (Vec::new(), Vec::new(), 0.0_f64, json!(null));
        for round in 1..=self.rounds {
            let times = time_probe_steps(&job, self.steps, self.warmup, self.activations.activation_cache_mb, device)?;
            let mut line = format!("round {round}: {:.2} ms per step", times.median());
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
        Ok(json!({
            "shape": "arithmetic",
            "recipe": self.recipe,
            "ours": { "median_ms": ours.median(), "all_ms": ours.milliseconds, "peak_rss_mb": own_peak },
            "peers": [{ "graph": "neurosurgeon", "median_ms": theirs.median(), "all_ms": theirs.milliseconds,
                        "peak_rss_mb": peak, "versions": versions }],
        }))
    }
}
