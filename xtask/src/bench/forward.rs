//! `bench forward`: times plain forward passes.

use std::{path::PathBuf, thread::sleep, time::Duration};

use anyhow::Context;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::{Args, ValueEnum};
use ns_models::ModelInputs;
use ns_train::{ForwardBench, StepTimes};
use serde_json::{Value, json};

use super::peer::{PeerOptions, PeerProcess};
use crate::{backend::BackendOption, output::say, report::write_report};

/// Number of untimed forward passes at the start.
const WARMUP: usize = 2;
/// Pause before each measurement. The idle threads of one side spin before they sleep, which would slow down the other.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Time plain forward passes, also in transformers with --peer python
///
/// Models have random weights and need no files. The command prints the median time per shape and, with a peer, the
/// ratio of the two. Passes of both sides alternate in one run, because times on a shared machine vary more than
/// ratios.
///
/// Example: cargo xtask bench forward --shape minilm --peer python
#[derive(Args)]
pub(crate) struct BenchForward {
    /// Model and batch to time; may be repeated [default: all]
    #[arg(long, value_enum)]
    shape: Vec<Shape>,
    /// Number of timed passes of each side
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Write all times to this file (JSON)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    peer: PeerOptions,
    #[command(flatten)]
    backend: BackendOption,
}

/// A model and a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// GPT-2 small with its language-model head, 8 sequences of 64 tokens
    Gpt2Small,
    /// MiniLM (BERT with 6 blocks, hidden size 384), 32 sequences of 32 tokens
    Minilm,
    /// ViT base with its classifier, 4 images of 224 × 224 pixels in patches of 16
    VitBase,
}

impl Shape {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Shape of the inputs: `[batch, seq]` or `[batch, channels, height, width]`.
    fn dims(self) -> &'static [usize] {
        match self {
            Self::Gpt2Small => &[8, 64],
            Self::Minilm => &[32, 32],
            Self::VitBase => &[4, 3, 224, 224],
        }
    }

    pub(super) fn config(self) -> Value {
        match self {
            Self::Gpt2Small => json!({
                "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 50257, "n_positions": 1024,
                "n_embd": 768, "n_layer": 12, "n_head": 12, "activation_function": "gelu_new",
            }),
            Self::Minilm => json!({
                "model_type": "bert", "architectures": ["BertModel"], "vocab_size": 30522,
                "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_size": 384, "num_hidden_layers": 6,
                "num_attention_heads": 12, "intermediate_size": 1536, "hidden_act": "gelu",
            }),
            Self::VitBase => json!({
                "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 768,
                "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu",
                "image_size": 224, "patch_size": 16, "num_channels": 3, "num_labels": 1000,
            }),
        }
    }

    /// Token ids or pixels that are spread over their whole range.
    pub(super) fn inputs(self, device: &Device) -> ModelInputs {
        let dims = self.dims();
        let ids = (0..dims.iter().product::<usize>()).map(|i| (i * 7919 % 30_011) as i64);
        if self != Self::VitBase {
            let ids = TensorData::new(ids.collect::<Vec<_>>(), dims.to_vec());
            return ModelInputs::new(Tensor::<2, Int>::from_data(ids, device));
        }
        let pixels: Vec<f32> = ids.map(|id| id as f32 / 15_005.5 - 1.0).collect();
        ModelInputs::images(Tensor::from_data(TensorData::new(pixels, dims.to_vec()), device))
    }
}

impl BenchForward {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let shapes = if self.shape.is_empty() { Shape::value_variants() } else { &self.shape };
        let device = self.backend.device()?;
        let measured: Vec<Value> =
            shapes.iter().map(|shape| self.measure(*shape, &device)).collect::<anyhow::Result<_>>()?;
        write_report(self.json.as_deref(), &json!(measured))
    }

    /// Times one shape on both sides, which take turns.
    fn measure(&self, shape: Shape, device: &Device) -> anyhow::Result<Value> {
        let config = shape.config();
        let bench = ForwardBench::new(&config, shape.inputs(device), device)?;
        let dims: Vec<String> = shape.dims().iter().map(usize::to_string).collect();
        let arguments = ["--config", &config.to_string(), "--dims", &dims.join(",")];
        let (mut peer, first) = self.peer.start(self.peer.command("bench_forward.py", &arguments))?.unzip();
        let versions = first.map(|first| first["versions"].clone());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..WARMUP + self.rounds {
            sleep(PAUSE);
            ours.push(bench.time()?);
            if let Some(peer) = &mut peer {
                sleep(PAUSE);
                theirs.push(time_peer(peer)?);
            }
        }
        let timed = |mut all: Vec<f64>| StepTimes { milliseconds: all.split_off(WARMUP.min(all.len())) };
        let (ours, theirs) = (timed(ours), timed(theirs));
        let mut line = format!("{}: {:.1} ms", shape.name(), ours.median());
        if peer.is_some() {
            line += &format!(", transformers {:.1} ms, ratio {:.2}", theirs.median(), ours.median() / theirs.median());
        }
        say!("{line}");
        Ok(json!({
            "shape": shape.name(),
            "dims": shape.dims(),
            "ours": { "median_ms": ours.median(), "all_ms": ours.milliseconds },
            "peer": { "median_ms": theirs.median(), "all_ms": theirs.milliseconds, "versions": versions },
        }))
    }
}

/// Milliseconds of one forward pass of the peer.
fn time_peer(peer: &mut PeerProcess) -> anyhow::Result<f64> {
    peer.run_once()?["ms"].as_f64().context("the peer's JSON has no `ms`")
}
