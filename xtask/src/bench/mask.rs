//! `bench mask`: times the elementwise work of masks, next to the matrix products of the masked layers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ns_circuit::{CircuitConfig, MaskMethod, MaskUnit};
use ns_train::{MaskBench, MaskTimes, StepTimes};
use serde_json::{Map, Value, json};

use crate::{backend::BackendOption, output::say, report::write_report};

/// Time masks, L0 and AdamW on the attention of a transformer block, next to its matrix products
///
/// The model is the two linear layers of an attention block, with random weights; it needs no files. All parts of the
/// measurement take turns in one run, because times on a shared machine vary more than ratios. The command prints the
/// median time of each part, and the time of the masks as a share of the time of the matrix products.
///
/// Example: cargo xtask bench mask --unit neuron
#[derive(Args)]
pub(crate) struct BenchMask {
    /// Method that computes masks from mask parameters
    #[arg(long, value_enum, default_value = "continuous-sparsification")]
    method: Method,
    /// Unit that one mask parameter masks
    #[arg(long, value_enum, default_value = "weight")]
    unit: Unit,
    /// Hidden size of the model: the weights are WIDTH × 3 WIDTH and WIDTH × WIDTH
    #[arg(long, default_value_t = 768)]
    width: usize,
    /// Number of tokens in the batch
    #[arg(long, default_value_t = 480)]
    tokens: usize,
    /// Number of timed rounds
    #[arg(long, default_value_t = 31)]
    rounds: usize,
    /// Number of untimed rounds before them
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Write all times to this file (JSON)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Sigmoid of the mask parameters
    ContinuousSparsification,
    /// Stretched and clipped sigmoid of the mask parameters and noise
    HardConcrete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unit {
    /// A single weight
    Weight,
    /// All weights of an output unit
    Neuron,
}

/// A part of the measurement: its JSON key, its printed name and its time in one round.
type Row = (&'static str, &'static str, fn(&MaskTimes) -> f64);

const PARTS: [Row; 6] = [
    ("masked_step", "step of the masked layers", |times| times.masked_step),
    ("plain_pass", "forward and backward without masks", |times| times.plain_pass),
    ("products", "matrix products alone", |times| times.products),
    ("scaled_outputs_pass", "forward and backward, scaled outputs", |times| times.scaled_outputs_pass),
    ("masks_alone", "masks, L0 and AdamW alone", |times| times.masks_alone),
    ("optimizer", "AdamW alone", |times| times.optimizer),
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
        say!("(masks, L0 and AdamW) / products: measured alone {alone:.3}, as the extra time of the step {added:.3}");
        measured.insert("alone_of_products".into(), alone.into());
        measured.insert("added_of_products".into(), added.into());
        write_report(self.json.as_deref(), &Value::Object(measured))
    }
}
