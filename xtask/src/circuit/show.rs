//! `circuit show`: one or two circuits over the layers of their model.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ns_train::{
    CircuitView, Granularity, TrainError, VisualizerConfig, circuit_page, draw_circuits, draw_heat_map, heat_map_page,
    load_recipe,
};

use super::source::{SourceOptions, label};
use crate::{backend::BackendOption, output::say};

/// Draw one or two circuits over the layers of their model, e.g. runs/probe-a2-attn-0
///
/// Each bar is a part of the model: how much of it is in the circuit (of two: in the first only, in both, in the second
/// only), how much is masked and unused, and how much no circuit masks. A circuit is the folder of a run of `probe`, or
/// a mask file together with --model and --config. Two circuits must lie in models of the same shapes.
///
/// Everything that can be set is in a file for --style, here with all its keys:
///
///   model_labels = ["a²", "a+b"] (else the runs')     subnetwork_colors = ["red", "#0072b2"]
///   intersect_color, unused_color, unmasked_color     alpha = 0.75
///   plot_granularity = "tensor"                       plot_full_network = true
///   visualize_bias = false                            title = "…"   legend = true
///   title_fontsize = 24   label_fontsize = 18         figsize = [10.0, 20.0]
///   outfile = "plot"                                  format = "svg"
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Show {
    /// Folder of a run, or a mask file (safetensors)
    circuit: PathBuf,
    /// A second circuit
    second: Option<PathBuf>,
    #[command(flatten)]
    source: SourceOptions,
    /// What one bar stands for [default: tensor]
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Layers by heads as colours, a panel a circuit, in place of bars
    #[arg(long)]
    heat_map: bool,
    /// Print a page for a terminal in place of writing files
    #[arg(long)]
    text: bool,
    /// The file, FILE.svg or FILE.png; without ending both [default: circuit in the run's folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only what a circuit masks, without the rest of the model
    #[arg(long)]
    masked_only: bool,
    /// Count biases, too
    #[arg(long)]
    bias: bool,
    /// The title
    #[arg(long)]
    title: Option<String>,
    /// Colours, labels, sizes and all else (TOML)
    #[arg(long, value_name = "FILE")]
    style: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

/// What one bar stands for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// A weight tensor
    Tensor,
    /// An attention head or the MLP
    Block,
    /// A whole layer
    Layer,
}

impl Show {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let config = self.visualizer()?;
        config.validate()?;
        let device = self.backend.device()?;
        let views = self
            .circuits()
            .map(|path| Ok(CircuitView::new(&self.source.load(path, &device)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        if self.text {
            let page = if self.heat_map { heat_map_page(&views, &config)? } else { circuit_page(&views, &config)? };
            say!("{}", page.trim_end());
            return Ok(());
        }
        let files = if self.heat_map { draw_heat_map(&views, &config)? } else { draw_circuits(&views, &config)? };
        for file in files {
            say!("{}", file.display());
        }
        Ok(())
    }

    fn circuits(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.circuit).chain(&self.second).map(PathBuf::as_path)
    }

    /// The configuration of the file, with what the command line says instead. Names that nobody gives are the runs'.
    fn visualizer(&self) -> Result<VisualizerConfig, TrainError> {
        let usual = VisualizerConfig::default();
        let config: VisualizerConfig = self.style.as_deref().map_or_else(|| Ok(usual.clone()), load_recipe)?;
        let labels = || self.circuits().map(label).collect();
        let given_title = || Some(&config.title).filter(|title| **title != usual.title).cloned();
        let given_file = || Some(&config.outfile).filter(|file| **file != usual.outfile).cloned();
        Ok(VisualizerConfig {
            plot_granularity: self.by.map_or(config.plot_granularity, By::granularity),
            plot_full_network: config.plot_full_network && !self.masked_only,
            visualize_bias: config.visualize_bias || self.bias,
            title: self.title.clone().or_else(given_title).unwrap_or_else(|| self.default_title()),
            outfile: self.out.clone().or_else(given_file).unwrap_or_else(|| self.default_file()),
            model_labels: if config.model_labels == usual.model_labels { labels() } else { config.model_labels },
            ..config
        })
    }

    fn default_file(&self) -> PathBuf {
        let name = match (self.heat_map, &self.second) {
            (true, _) => "heat-map",
            (false, None) => "circuit",
            (false, Some(_)) => "circuits",
        };
        if self.circuit.is_dir() { self.circuit.join(name) } else { self.circuit.with_file_name(name) }
    }

    fn default_title(&self) -> String {
        let labels: Vec<_> = self.circuits().map(label).collect();
        match &labels[..] {
            [one] => format!("Circuit {one}"),
            _ => format!("Circuits {}", labels.join(" and ")),
        }
    }
}

impl By {
    fn granularity(self) -> Granularity {
        match self {
            Self::Tensor => Granularity::Tensor,
            Self::Block => Granularity::Block,
            Self::Layer => Granularity::Layer,
        }
    }
}
