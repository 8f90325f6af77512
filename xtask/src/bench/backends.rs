//! `bench backends`: the same work on every backend.

use std::{path::PathBuf, thread::sleep, time::Duration};

use burn::tensor::Device;
use clap::Args;
use ns_circuit::CircuitConfig;
use ns_train::figures::{TimePanel, time_bars};
use ns_train::{
    DEFAULT_ACTIVATION_CACHE_MB, ForwardBench, MaskBench, ProbeRecipe, StepTimes, load_recipe, markdown,
    time_probe_steps,
};
use serde_json::{Value, json};

use super::forward::Shape;
use crate::{
    backend::{ChosenDevice, all_with_devices, device_name},
    output::say,
};

/// Rounds before the clock starts: a GPU's kernels are compiled when they are first used.
const WARMUP: usize = 2;
/// Idle threads of one backend spin for a while before they sleep; the next should not pay for it.
const PAUSE: Duration = Duration::from_millis(250);

/// The hidden size of GPT-2 small, whose attention block has 2.4 million weights.
const MASKED_WIDTH: usize = 768;
/// Tokens of the products beside the masks, which are not reported here.
const MASKED_ROWS: usize = 32;

/// Time a forward pass, a probe's step and a mask's step on every backend in this build
///
/// Backends take turns in one run, because times on a shared machine mean little and ratios more. The probe's step is
/// that of a circuit probe on the shipped model; the mask's step is what masks on GPT-2 small's attention block (2.4
/// million logits) add to one: soft masks, effective weights, L0, gradients, AdamW.
#[derive(Args)]
pub(crate) struct BenchBackends {
    /// A backend; may be repeated [default: all in this build that have a device here]
    #[arg(long, value_name = "NAME[:INDEX]")]
    backend: Vec<ChosenDevice>,
    /// Model and batch of the forward pass
    #[arg(long, value_enum, default_value = "minilm")]
    shape: Shape,
    /// The probe
    #[arg(long, default_value = "models/arithmetic/probe-a2-attn.toml")]
    recipe: PathBuf,
    /// Timed rounds
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw backends.svg and backends.png in this folder
    #[arg(long, value_name = "FOLDER")]
    figure: Option<PathBuf>,
}

/// A backend's device.
struct BenchDevice {
    name: String,
    device: Device,
}

/// Kinds of work.
#[derive(Clone, Copy, Debug)]
enum Work {
    Forward,
    ProbeStep,
    MaskStep,
}

/// Does the work once and says how many milliseconds it took.
type Timer = Box<dyn FnMut() -> anyhow::Result<f64>>;

impl Work {
    const ALL: [Self; 3] = [Self::Forward, Self::ProbeStep, Self::MaskStep];

    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward (ms)",
            Self::ProbeStep => "probe step (ms)",
            Self::MaskStep => "mask step (ms)",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::ProbeStep => "probe_step",
            Self::MaskStep => "mask_step",
        }
    }
}

impl BenchBackends {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let chosen = if self.backend.is_empty() { all_with_devices() } else { self.backend.clone() };
        let open = |chosen: ChosenDevice| Ok(BenchDevice { name: chosen.to_string(), device: chosen.open()? });
        let places: Vec<BenchDevice> = chosen.into_iter().map(open).collect::<anyhow::Result<_>>()?;
        let mut measured = Vec::new();
        for work in Work::ALL {
            measured.push((work, self.measure(work, &places)?));
        }
        say!("{}", table(&places, &measured).trim_end());
        if let Some(path) = &self.json {
            std::fs::write(path, format!("{:#}\n", self.report(&places, &measured)))?;
        }
        if let Some(folder) = &self.figure {
            let panels: Vec<TimePanel> = measured.iter().map(|(work, times)| panel(*work, &places, times)).collect();
            time_bars(folder, "backends", "The same work on each backend, median times", &panels)?;
        }
        Ok(())
    }

    /// Times one kind of work everywhere, in turns.
    fn measure(&self, work: Work, places: &[BenchDevice]) -> anyhow::Result<Vec<StepTimes>> {
        let mut timers: Vec<Timer> =
            places.iter().map(|place| self.timer(work, &place.device)).collect::<anyhow::Result<_>>()?;
        let mut times = vec![StepTimes { milliseconds: Vec::new() }; places.len()];
        for round in 0..WARMUP + self.rounds {
            for (timer, times) in timers.iter_mut().zip(&mut times) {
                sleep(PAUSE);
                let time = timer()?;
                if round >= WARMUP {
                    times.milliseconds.push(time);
                }
            }
        }
        Ok(times)
    }

    fn timer(&self, work: Work, device: &Device) -> anyhow::Result<Timer> {
        Ok(match work {
            Work::Forward => {
                let bench = ForwardBench::new(&self.shape.config(), self.shape.inputs(device), device)?;
                Box::new(move || Ok(bench.time()?))
            }
            Work::ProbeStep => {
                let recipe = load_recipe::<ProbeRecipe>(&self.recipe)?.resolve(&self.recipe)?;
                let device = device.clone();
                Box::new(move || Ok(time_probe_steps(&recipe, 1, 1, DEFAULT_ACTIVATION_CACHE_MB, &device)?.median()))
            }
            Work::MaskStep => {
                let mut bench = MaskBench::new(&CircuitConfig::default(), MASKED_WIDTH, MASKED_ROWS, device)?;
                Box::new(move || Ok(bench.time()?.masks_alone))
            }
        })
    }

    fn report(&self, places: &[BenchDevice], measured: &[(Work, Vec<StepTimes>)]) -> Value {
        let place = |index: usize, place: &BenchDevice| {
            let times = measured.iter().map(|(work, times)| {
                let times = &times[index];
                (work.key().to_owned(), json!({ "median_ms": times.median(), "all_ms": times.milliseconds }))
            });
            let times: serde_json::Map<String, Value> = times.collect();
            json!({ "backend": place.name, "device": device_name(&place.device), "times": times })
        };
        let backends: Vec<Value> = places.iter().enumerate().map(|(index, at)| place(index, at)).collect();
        json!({ "shape": self.shape.name(), "recipe": self.recipe, "backends": backends })
    }
}

/// A line a backend.
fn table(places: &[BenchDevice], measured: &[(Work, Vec<StepTimes>)]) -> String {
    let works = measured.iter().map(|(work, _)| work.name());
    let header: Vec<&str> = ["backend", "device"].into_iter().chain(works).collect();
    let line = |(index, place): (usize, &BenchDevice)| {
        let medians = measured.iter().map(|(_, times)| format!("{:.1}", times[index].median()));
        [place.name.clone(), device_name(&place.device)].into_iter().chain(medians).collect()
    };
    let lines: Vec<Vec<String>> = places.iter().enumerate().map(line).collect();
    markdown(&header, &lines)
}

fn panel(work: Work, places: &[BenchDevice], times: &[StepTimes]) -> TimePanel {
    let times = places.iter().zip(times).map(|(place, times)| (place.name.clone(), times.median())).collect();
    TimePanel { label: work.name().to_owned(), times }
}
