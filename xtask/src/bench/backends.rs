//! `bench backends`: times the same work on every backend.

use std::{path::PathBuf, thread::sleep};

use burn::tensor::Device;
use clap::Args;
use ns_circuit::CircuitConfig;
use ns_train::figures::{TimePanel, time_bars};
use ns_train::{DEFAULT_ACTIVATION_CACHE_MB, ForwardBench, Job, MaskBench, StepTimes, markdown, time_probe_steps};
use serde_json::{Value, json};

use super::forward::{PAUSE, Shape};
use crate::{
    backend::{ChosenDevice, all_with_devices, device_name},
    output::say,
    report::write_report,
};

/// Number of untimed rounds, because a GPU compiles its kernels when they are first used.
const WARMUP: usize = 2;

/// Hidden size of GPT-2 small. The attention of a block has 2.4 million weights.
const MASKED_WIDTH: usize = 768;
/// Number of tokens of the matrix products. Their time is not reported here.
const MASKED_ROWS: usize = 32;

/// Time a forward pass, a probe step and a mask step on every backend in this build
///
/// A probe step is a training step of the circuit probe in --recipe. A mask step is what masks on the attention of a
/// block of GPT-2 small (2.4 million mask parameters) add to a training step: soft masks, effective weights, L0,
/// gradients and AdamW. Backends take turns in one run, because times on a shared machine vary more than ratios. The
/// command prints a table of median times.
///
/// Example: cargo xtask bench backends --figure runs/backends
#[derive(Args)]
pub(crate) struct BenchBackends {
    /// Backend to time; may be repeated [default: all in this build that have a device on this machine]
    #[arg(long, value_name = "NAME[:INDEX]")]
    backend: Vec<ChosenDevice>,
    /// Model and batch of the forward pass
    #[arg(long, value_enum, default_value = "minilm")]
    shape: Shape,
    /// Recipe of the circuit probe
    #[arg(long, default_value = "models/arithmetic/probe-a2-attn.toml")]
    recipe: PathBuf,
    /// Number of timed rounds
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Write all times to this file (JSON)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the median times to backends.svg and backends.png in this folder
    #[arg(long, value_name = "FOLDER")]
    figure: Option<PathBuf>,
}

/// A device and the name of its backend.
struct BenchDevice {
    name: String,
    device: Device,
}

/// The kinds of work that are timed.
#[derive(Clone, Copy, Debug)]
enum Work {
    Forward,
    ProbeStep,
    MaskStep,
}

/// Does the work once and returns its time in milliseconds.
type Timer = Box<dyn FnMut() -> anyhow::Result<f64>>;

impl Work {
    const ALL: [Self; 3] = [Self::Forward, Self::ProbeStep, Self::MaskStep];

    /// Heading of a column or of a panel.
    fn name(self) -> String {
        format!("{} (ms)", self.key().replace('_', " "))
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
        let devices: Vec<BenchDevice> = chosen.into_iter().map(open).collect::<anyhow::Result<_>>()?;
        let mut measured = Vec::new();
        for work in Work::ALL {
            measured.push((work, self.measure(work, &devices)?));
        }
        say!("{}", table(&devices, &measured).trim_end());
        write_report(self.json.as_deref(), &self.report(&devices, &measured))?;
        if let Some(folder) = &self.figure {
            let panels: Vec<TimePanel> = measured.iter().map(|(work, times)| panel(*work, &devices, times)).collect();
            time_bars(folder, "backends", "The same work on each backend, median times", &panels)?;
        }
        Ok(())
    }

    /// Times one kind of work on all devices, which take turns.
    fn measure(&self, work: Work, devices: &[BenchDevice]) -> anyhow::Result<Vec<StepTimes>> {
        let mut timers: Vec<Timer> =
            devices.iter().map(|entry| self.timer(work, &entry.device)).collect::<anyhow::Result<_>>()?;
        let mut times = vec![StepTimes { milliseconds: Vec::new() }; devices.len()];
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

    /// Prepares one kind of work on a device.
    fn timer(&self, work: Work, device: &Device) -> anyhow::Result<Timer> {
        Ok(match work {
            Work::Forward => {
                let bench = ForwardBench::new(&self.shape.config(), self.shape.inputs(device), device)?;
                Box::new(move || Ok(bench.time()?))
            }
            Work::ProbeStep => {
                let job = Job::single(&self.recipe)?;
                let device = device.clone();
                Box::new(move || Ok(time_probe_steps(&job, 1, 1, DEFAULT_ACTIVATION_CACHE_MB, &device)?.median()))
            }
            Work::MaskStep => {
                let mut bench = MaskBench::new(&CircuitConfig::default(), MASKED_WIDTH, MASKED_ROWS, device)?;
                Box::new(move || Ok(bench.time()?.masks_alone))
            }
        })
    }

    fn report(&self, devices: &[BenchDevice], measured: &[(Work, Vec<StepTimes>)]) -> Value {
        let report = |index: usize, entry: &BenchDevice| {
            let times = measured.iter().map(|(work, times)| {
                let times = &times[index];
                (work.key().to_owned(), json!({ "median_ms": times.median(), "all_ms": times.milliseconds }))
            });
            let times: serde_json::Map<String, Value> = times.collect();
            json!({ "backend": entry.name, "device": device_name(&entry.device), "times": times })
        };
        let backends: Vec<Value> = devices.iter().enumerate().map(|(index, entry)| report(index, entry)).collect();
        json!({ "shape": self.shape.name(), "recipe": self.recipe, "backends": backends })
    }
}

/// A Markdown table with one line per backend.
fn table(devices: &[BenchDevice], measured: &[(Work, Vec<StepTimes>)]) -> String {
    let works: Vec<String> = measured.iter().map(|(work, _)| work.name()).collect();
    let header: Vec<&str> = ["backend", "device"].into_iter().chain(works.iter().map(String::as_str)).collect();
    let line = |(index, entry): (usize, &BenchDevice)| {
        let medians = measured.iter().map(|(_, times)| format!("{:.1}", times[index].median()));
        [entry.name.clone(), device_name(&entry.device)].into_iter().chain(medians).collect()
    };
    let lines: Vec<Vec<String>> = devices.iter().enumerate().map(line).collect();
    markdown(&header, &lines)
}

fn panel(work: Work, devices: &[BenchDevice], times: &[StepTimes]) -> TimePanel {
    let times = devices.iter().zip(times).map(|(entry, times)| (entry.name.clone(), times.median())).collect();
    TimePanel { label: work.name(), times }
}
