//! `bench mask`: the elementwise work of masks beside the matrix products of the masked layers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ns_circuit::{CircuitConfig, MaskMethod, MaskUnit};
use ns_train::{MaskBench, MaskTimes, StepTimes};
use serde_json::{Map, Value, json};

use crate::{backend::BackendOption, output::say};

/// Time masks, L0 and AdamW on the attention block of a transformer, beside the matrix products of its two layers
///
/// All parts alternate in one run, because times on a shared machine mean little and ratios more.
#[derive(Args)]
pub(crate) struct BenchMask {
    /// How masks are made
    #[arg(long, value_enum, default_value = "continuous-sparsification")]
    method: Method,
    /// What one entry of a mask stands for
    #[arg(long, value_enum, default_value = "weight")]
    unit: Unit,
    /// Width of the model: the weights are WIDTH × 3 WIDTH and WIDTH × WIDTH
    #[arg(long, default_value_t = 768)]
    width: usize,
    /// Tokens of the batch
    #[arg(long, default_value_t = 480)]
    tokens: usize,
    /// Timed rounds
    #[arg(long, default_value_t = 31)]
    rounds: usize,
    /// Rounds before the clock starts
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    ContinuousSparsification,
    HardConcrete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unit {
    Weight,
    Neuron,
}

/// A part of the measurement: its key, what it is, and its time in a round.
type Row = (&'static str, &'static str, fn(&MaskTimes) -> f64);

const PARTS: [Row; 6] = [
    ("masked_step", "step of the masked layers", |times| times.masked_step),
    ("plain_pass", "forward and backward without masks", |times| times.plain_pass),
    ("products", "their matrix products alone", |times| times.products),
    ("scaled_outputs_pass", "the same with scales on outputs", |times| times.scaled_outputs_pass),
    ("masks_alone", "masks, L0 and AdamW alone", |times| times.masks_alone),
    ("optimizer", "of these, AdamW", |times| times.optimizer),
];

impl BenchMask {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let config = CircuitConfig {
            mask_method: match self.method {
                Method::ContinuousSparsification => MaskMethod::ContinuousSparsification { mask_init_value: 0.0 },
                Method::HardConcrete => MaskMethod::HardConcrete { mask_init_percentage: 0.5 },
            },
            mask_unit: match self.unit {
                Unit::Weight => MaskUnit::Weight,
                Unit::Neuron => MaskUnit::Neuron,
            },
            ..CircuitConfig::default()
        };
        let mut bench = MaskBench::new(&config, self.width, self.tokens, &self.backend.device()?)?;
        for _ in 0..self.warmup {
            bench.time()?;
        }
        let rounds: Vec<MaskTimes> = (0..self.rounds).map(|_| bench.time()).collect::<Result<_, _>>()?;
        let times = |part: fn(&MaskTimes) -> f64| StepTimes { milliseconds: rounds.iter().map(part).collect() };
        let mut measured = Map::new();
        for (key, name, part) in PARTS {
            let times = times(part);
            say!("{name:<36} {:8.2} ms", times.median());
            measured.insert(key.into(), json!({ "median_ms": times.median(), "all_ms": times.milliseconds }));
        }
        let alone = times(|times| times.masks_alone / times.products).median();
        let added = times(|times| (times.masked_step - times.plain_pass) / times.products).median();
        say!("masks, L0 and AdamW / products: alone {alone:.3}, as what the step takes more {added:.3}");
        measured.insert("alone_of_products".into(), alone.into());
        measured.insert("added_of_products".into(), added.into());
        if let Some(path) = &self.json {
            std::fs::write(path, format!("{:#}\n", Value::Object(measured)))?;
        }
        Ok(())
    }
}
