//! `circuit show A [B]`: draws one or two circuits over the layers of their model.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ns_train::{
    CircuitView, Granularity, TrainError, VisualizerConfig, circuit_page, draw_circuits, draw_heat_map, heat_map_page,
    read_toml,
};

use super::source::{SourceOptions, label};
use crate::{backend::BackendOption, output::say};

/// Draw one or two circuits over the layers of their model
///
/// Each bar is a part of the model. It shows which share of that part is in the circuit, which is masked but not in the
/// circuit (unused), and which is not masked. For two circuits, it shows which share is only in the first, in both, and
/// only in the second. The models of two circuits must have the same shapes.
///
/// A circuit is the folder of a finished run, or a mask file together with --model and --config. The command writes
/// circuit.svg and circuit.png (circuits.* for two circuits, heat-map.* for --heat-map) into the folder of the first
/// circuit, and prints their paths. With --text it prints to the terminal instead.
///
/// Example: cargo xtask circuit show runs/demo/probe-a2-attn-0 --by block
///
/// A TOML file for --style can set all of these keys:
///
///   model_labels = ["a²", "a+b"]                      subnetwork_colors = ["red", "#0072b2"]
///   intersect_color, unused_color, unmasked_color     alpha = 0.75
///   plot_granularity = "tensor"                       plot_full_network = true
///   visualize_bias = false                            title = "…"   legend = true
///   title_fontsize = 24   label_fontsize = 18         figsize = [10.0, 20.0]
///   outfile = "plot"                                  format = "svg"
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Show {
    /// Circuit to draw: the folder of a finished run, or a mask file (safetensors)
    circuit: PathBuf,
    /// Second circuit, drawn in the same bars
    second: Option<PathBuf>,
    #[command(flatten)]
    source: SourceOptions,
    /// Part of the model that each bar shows [default: tensor]
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Draw a heat map of layers and heads, with one panel per circuit, instead of bars
    #[arg(long)]
    heat_map: bool,
    /// Print to the terminal instead of writing files
    #[arg(long)]
    text: bool,
    /// File to write, FILE.svg or FILE.png; both if FILE has neither ending [default: circuit in the run folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave out the parts of the model that no circuit masks
    #[arg(long)]
    masked_only: bool,
    /// Also count biases
    #[arg(long)]
    bias: bool,
    /// Title of the figure
    #[arg(long)]
    title: Option<String>,
    /// File with colours, labels, sizes and other settings (TOML)
    #[arg(long, value_name = "FILE")]
    style: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

/// Part of the model that each bar shows.
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

    /// Reads the --style file and overrides its values with those of the command line. Labels, title and file that
    /// neither of them sets are named after the circuits.
    fn visualizer(&self) -> Result<VisualizerConfig, TrainError> {
        let default = VisualizerConfig::default();
        let config: VisualizerConfig = self.style.as_deref().map_or_else(|| Ok(default.clone()), read_toml)?;
        let labels = || self.circuits().map(label).collect();
        let style_title = || Some(&config.title).filter(|title| **title != default.title).cloned();
        let style_file = || Some(&config.outfile).filter(|file| **file != default.outfile).cloned();
        Ok(VisualizerConfig {
            plot_granularity: self.by.map_or(config.plot_granularity, By::granularity),
            plot_full_network: config.plot_full_network && !self.masked_only,
            visualize_bias: config.visualize_bias || self.bias,
            title: self.title.clone().or_else(style_title).unwrap_or_else(|| self.default_title()),
            outfile: self.out.clone().or_else(style_file).unwrap_or_else(|| self.default_file()),
            model_labels: if config.model_labels == default.model_labels { labels() } else { config.model_labels },
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
