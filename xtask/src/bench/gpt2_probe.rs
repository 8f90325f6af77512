//! Times training steps of a circuit probe on one block of GPT-2 small with random weights.

use std::thread::sleep;

use anyhow::Context;
use burn::tensor::Device;
use ns_circuit::{CircuitConfig, MaskUnit};
use ns_train::{ProbeBench, ProbeBenchConfig, StepTimes};
use serde_json::{Value, json};

use super::{
    forward::{PAUSE, Shape},
    memory::{peak_memory_mb, reset_peak_memory},
    peer::{PeerOptions, PeerProcess},
};
use crate::output::say;

/// Number of batches per epoch. The first epoch fills the activation cache.
const STEPS_PER_EPOCH: usize = 2;
/// Number of untimed steps of each side, in addition to the first epoch.
const WARMUP: usize = 2;

/// Masks and a batch for GPT-2 small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gpt2Shape {
    name: &'static str,
    /// The masked parts of a block; each is measured on its own.
    components: &'static [&'static str],
    /// Number of sequences, and of tokens in each.
    dims: [usize; 2],
    unit: MaskUnit,
}

/// Settings of the measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// Number of timed steps of this project.
    pub(crate) ours: usize,
    /// Number of timed steps of NeuroSurgeon.
    pub(crate) peers: usize,
    /// Size of the activation cache in MB.
    pub(crate) activation_cache_mb: usize,
}

impl Gpt2Shape {
    /// 32 sequences of 15 tokens, one mask parameter per weight of the attention.
    pub(crate) const WEIGHTS: Self =
        Self { name: "gpt2-small", components: &["attn"], dims: [32, 15], unit: MaskUnit::Weight };
    /// The paper's agreement sweep: 500 sequences of 15 tokens, one mask parameter per neuron of the attention or the
    /// MLP.
    pub(crate) const AGREEMENT: Self =
        Self { name: "agreement", components: &["attn", "mlp"], dims: [500, 15], unit: MaskUnit::Neuron };

    /// Measures every component (attention, MLP) of the blocks `layers`. Returns one JSON object per measurement.
    pub(crate) fn measure(
        self,
        layers: &[usize],
        rounds: Rounds,
        peer: &PeerOptions,
        device: &Device,
    ) -> anyhow::Result<Vec<Value>> {
        let cases = self.components.iter().flat_map(|component| layers.iter().map(move |layer| (*component, *layer)));
        cases.map(|(component, layer)| Case { shape: self, component, layer }.measure(rounds, peer, device)).collect()
    }
}

/// One measurement: a shape and the component of one block.
struct Case {
    shape: Gpt2Shape,
    component: &'static str,
    layer: usize,
}

/// The steps of one peer graph.
struct PeerSteps {
    graph: &'static str,
    process: PeerProcess,
    versions: Value,
    rounds: usize,
    times: StepTimes,
    peak_rss_mb: f64,
}

impl Case {
    fn measure(&self, rounds: Rounds, peer: &PeerOptions, device: &Device) -> anyhow::Result<Value> {
        reset_peak_memory();
        let mut bench = ProbeBench::new(self.config(rounds.activation_cache_mb), device)?;
        let first_epoch: Vec<f64> = (0..STEPS_PER_EPOCH).map(|_| bench.step()).collect::<Result<_, _>>()?;
        let mut peers = self.peers(rounds, peer)?;
        let mut ours = StepTimes { milliseconds: Vec::new() };
        for round in 0..WARMUP + rounds.ours.max(rounds.peers) {
            sleep(PAUSE);
            let milliseconds = bench.step()?;
            if round >= WARMUP {
                ours.milliseconds.push(milliseconds);
            }
            for peer in peers.iter_mut().filter(|peer| round < WARMUP.min(peer.rounds) + peer.rounds) {
                sleep(PAUSE);
                peer.step(round)?;
            }
        }
        let peak_rss_mb = peak_memory_mb();
        let mut line = format!("{}: {:.1} ms, {peak_rss_mb:.0} MB", self.name(), ours.median());
        for peer in &peers {
            let (median, ratio) = (peer.times.median(), ours.median() / peer.times.median());
            line += &format!("; {} {median:.1} ms, {:.0} MB, ratio {ratio:.3}", peer.graph, peer.peak_rss_mb);
        }
        say!("{line}");
        let peers: Vec<Value> = peers.iter().map(PeerSteps::to_json).collect();
        let ours = json!({
            "median_ms": ours.median(), "all_ms": ours.milliseconds, "first_epoch_ms": first_epoch,
            "peak_rss_mb": peak_rss_mb,
        });
        Ok(json!({
            "shape": self.shape.name, "dims": self.shape.dims, "component": self.component, "layer": self.layer,
            "ours": ours, "peers": peers,
        }))
    }

    fn name(&self) -> String {
        format!("{}, {} of layer {}", self.shape.name, self.component, self.layer)
    }

    fn config(&self, activation_cache_mb: usize) -> ProbeBenchConfig {
        let layers: &[&str] =
            if self.component == "attn" { &["attn.c_attn", "attn.c_proj"] } else { &["mlp.c_fc", "mlp.c_proj"] };
        let [batch, seq] = self.shape.dims;
        ProbeBenchConfig {
            model: Shape::Gpt2Small.config(),
            probe_vectors: format!("{}_update_{}", self.component, self.layer),
            circuit_config: CircuitConfig {
                target_layers: layers.iter().map(|name| format!("transformer.h.{}.{name}", self.layer)).collect(),
                mask_unit: self.shape.unit,
                add_l0: true,
                l0_lambda: 1e-6,
                ..CircuitConfig::default()
            },
            batch,
            seq,
            steps_per_epoch: STEPS_PER_EPOCH,
            activation_cache_mb,
        }
    }

    /// Starts the peer graphs: NeuroSurgeon, the probed block written by hand, and that block computed only at the
    /// probed tokens.
    fn peers(&self, rounds: Rounds, peer: &PeerOptions) -> anyhow::Result<Vec<PeerSteps>> {
        let graphs = [("neurosurgeon", rounds.peers), ("block", rounds.ours), ("rows", rounds.ours)];
        let started = graphs.map(|(graph, rounds)| self.start(graph, rounds, peer));
        started.into_iter().filter_map(Result::transpose).collect()
    }

    fn start(&self, graph: &'static str, rounds: usize, peer: &PeerOptions) -> anyhow::Result<Option<PeerSteps>> {
        let [batch, seq] = self.shape.dims.map(|size| size.to_string());
        let (config, layer) = (Shape::Gpt2Small.config().to_string(), self.layer.to_string());
        let unit = if self.shape.unit == MaskUnit::Neuron { "neuron" } else { "weight" };
        let arguments = [
            ["--graph", graph],
            ["--config", &config],
            ["--layer", &layer],
            ["--component", self.component],
            ["--unit", unit],
            ["--batch", &batch],
            ["--seq", &seq],
        ];
        let started = peer.start(peer.reference_command("bench_gpt2_probe.py", &arguments.concat()))?;
        Ok(started.map(|(process, first)| PeerSteps {
            graph,
            process,
            versions: first["versions"].clone(),
            rounds,
            times: StepTimes { milliseconds: Vec::new() },
            peak_rss_mb: 0.0,
        }))
    }
}

impl PeerSteps {
    /// Runs one step, and records its time after the untimed steps.
    fn step(&mut self, round: usize) -> anyhow::Result<()> {
        let measured = self.process.run_once()?;
        let number = |key: &str| measured[key].as_f64().with_context(|| format!("the peer's JSON has no `{key}`"));
        self.peak_rss_mb = self.peak_rss_mb.max(number("peak_rss_mb")?);
        if round >= WARMUP.min(self.rounds) {
            self.times.milliseconds.push(number("ms")?);
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        json!({
            "graph": self.graph, "median_ms": self.times.median(), "all_ms": self.times.milliseconds,
            "peak_rss_mb": self.peak_rss_mb, "versions": self.versions,
        })
    }
}
