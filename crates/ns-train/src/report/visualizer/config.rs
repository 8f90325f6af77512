//! How circuits are drawn, in the field names of NeuroSurgeon's `VisualizerConfig`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::report::figures::{Colour, ImageFormat, MapStyle};

/// What one bar stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// A layer's weight.
    #[default]
    Tensor,
    /// An attention head, or the MLP.
    Block,
    /// A whole layer of the model.
    Layer,
}

/// How circuits are drawn.
///
/// Fields and defaults are NeuroSurgeon's, except that the legend is on, colours are some that colour-blind readers tell
/// apart, and the figure's size follows from what is in it. Not here are `model_architecture`, `hidden_size`, `num_heads`
/// and `mask_method`, which model and masks tell themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VisualizerConfig {
    /// Names of the circuits.
    pub model_labels: Vec<String>,
    /// Colours of the circuits: names such as `red`, or `#rrggbb`.
    pub subnetwork_colors: [Colour; 2],
    /// Colour of what is in both circuits.
    pub intersect_color: Colour,
    /// Colour of what is in no circuit.
    pub unused_color: Colour,
    /// Colour of what no circuit masks.
    pub unmasked_color: Colour,
    /// Whether biases count.
    pub visualize_bias: bool,
    /// Whether layers that no circuit masks are shown, too.
    pub plot_full_network: bool,
    /// What one bar stands for.
    pub plot_granularity: Granularity,
    /// The file. Without an ending (or with another than .svg and .png) both kinds are written.
    pub outfile: PathBuf,
    /// Only this format.
    pub format: Option<ImageFormat>,
    /// Width and height in inches, of which each has 100 pixels.
    pub figsize: Option<[f64; 2]>,
    /// Size of the title in points.
    pub title_fontsize: f64,
    /// Size of names in points.
    pub label_fontsize: f64,
    /// Opacity of the colours.
    pub alpha: f64,
    /// The title.
    pub title: String,
    /// Whether there is a legend.
    pub legend: bool,
}

impl Default for VisualizerConfig {
    fn default() -> Self {
        Self {
            model_labels: vec!["Subnetwork 1".into(), "Subnetwork 2".into()],
            subnetwork_colors: [Colour::new(0, 114, 178), Colour::new(230, 120, 0)],
            intersect_color: Colour::new(94, 30, 120),
            unused_color: Colour::new(170, 170, 170),
            unmasked_color: Colour::new(236, 236, 236),
            visualize_bias: false,
            plot_full_network: true,
            plot_granularity: Granularity::Tensor,
            outfile: "plot".into(),
            format: None,
            figsize: None,
            title_fontsize: 24.0,
            label_fontsize: 18.0,
            alpha: 0.75,
            title: "Layer By Layer Subnetwork Distribution".into(),
            legend: true,
        }
    }
}

const PIXELS_PER_INCH: f64 = 100.0;
const POINTS_PER_INCH: f64 = 72.0;
/// Inches; beyond this a picture fills the memory.
const LARGEST_FIGURE: f64 = 200.0;
/// Points.
const LARGEST_FONT: f64 = 200.0;

impl VisualizerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`TrainError::Setting`].
    pub fn validate(&self) -> Result<(), TrainError> {
        let check = |setting, found: String, holds: bool, expected: &str| match holds {
            true => Ok(()),
            false => Err(TrainError::Setting { setting, found, expected: expected.into() }),
        };
        let within = |value: f64, most: f64| value > 0.0 && value <= most;
        check("alpha", self.alpha.to_string(), (0.0..=1.0).contains(&self.alpha), "opacity goes from 0 to 1")?;
        for (setting, size) in [("title_fontsize", self.title_fontsize), ("label_fontsize", self.label_fontsize)] {
            check(setting, size.to_string(), within(size, LARGEST_FONT), "a size is from 0 to 200 points")?;
        }
        if let Some(figsize) = self.figsize {
            let fits = figsize.iter().all(|length| within(*length, LARGEST_FIGURE));
            check("figsize", format!("{figsize:?}"), fits, "width and height are from 0 to 200 inches")?;
        }
        if let (Some(format), Some(ending)) = (self.format, self.ending()) {
            let expected = format!("`{}` is a {} file", self.outfile.display(), ending.extension());
            check("format", format.extension().into(), format == ending, &expected)?;
        }
        let named = self.outfile.file_name().is_some();
        check("outfile", self.outfile.display().to_string(), named, "it must be the name of a file")
    }

    /// The files to be written.
    pub fn outputs(&self) -> Vec<(PathBuf, ImageFormat)> {
        match (self.ending(), self.format) {
            (Some(ending), _) => vec![(self.outfile.clone(), ending)],
            (None, Some(format)) => vec![(self.with_ending(format), format)],
            (None, None) => ImageFormat::ALL.map(|format| (self.with_ending(format), format)).to_vec(),
        }
    }

    fn ending(&self) -> Option<ImageFormat> {
        let ending = self.outfile.extension()?.to_str()?.to_lowercase();
        ImageFormat::ALL.into_iter().find(|format| format.extension() == ending)
    }

    fn with_ending(&self, format: ImageFormat) -> PathBuf {
        let mut path = self.outfile.clone().into_os_string();
        path.push(format!(".{}", format.extension()));
        path.into()
    }

    /// Names of this many circuits.
    pub(super) fn labels(&self, circuits: usize) -> Vec<String> {
        let usual = |index: usize| format!("Subnetwork {}", index + 1);
        (0..circuits).map(|index| self.model_labels.get(index).cloned().unwrap_or_else(|| usual(index))).collect()
    }

    /// The same as figures want it.
    pub(super) fn style(&self, circuits: usize) -> MapStyle {
        let pixels = |points: f64| points * PIXELS_PER_INCH / POINTS_PER_INCH;
        MapStyle {
            title: self.title.clone(),
            labels: self.labels(circuits),
            circuits: self.subnetwork_colors,
            both: self.intersect_color,
            unused: self.unused_color,
            unmasked: self.unmasked_color,
            opacity: self.alpha,
            title_size: pixels(self.title_fontsize),
            label_size: pixels(self.label_fontsize),
            size: self.figsize.map(|size| {
                let [width, height] = size.map(|inches| (inches * PIXELS_PER_INCH).round() as i32);
                (width, height)
            }),
            legend: self.legend,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<VisualizerConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn every_option_of_the_reference_reads() {
        let config = read(
            r##"
            model_labels = ["a", "b"]
            subnetwork_colors = ["red", "blue"]
            intersect_color = "purple"
            unused_color = "grey"
            visualize_bias = true
            plot_full_network = false
            plot_granularity = "block"
            outfile = "plot.png"
            format = "png"
            figsize = [10.0, 20.0]
            title_fontsize = 12
            label_fontsize = 9
            alpha = 0.6
            title = "Title"
            legend = false
            "##,
        )
        .unwrap();
        config.validate().unwrap();
        let style = config.style(2);
        assert_eq!((style.size, style.circuits[0]), (Some((1000, 2000)), Colour::new(255, 0, 0)));
        assert!((style.title_size - 100.0 / 6.0).abs() < 1e-9 && !style.legend);
        assert_eq!(config.outputs(), [("plot.png".into(), ImageFormat::Png)]);
        assert_eq!(read("").unwrap(), VisualizerConfig::default());
        let text = toml::to_string(&config).unwrap();
        assert_eq!(read(&text).unwrap(), config);
    }

    #[test]
    fn files_are_named_after_their_formats() {
        let outputs = |outfile: &str, format| {
            let config = VisualizerConfig { outfile: outfile.into(), format, ..VisualizerConfig::default() };
            config.outputs().into_iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(outputs("folder/plot", None), ["folder/plot.svg", "folder/plot.png"]);
        assert_eq!(outputs("plot.SVG", None), ["plot.SVG"]);
        assert_eq!(outputs("run.1", Some(ImageFormat::Svg)), ["run.1.svg"]);
    }

    #[test]
    fn values_that_cannot_be_drawn_are_named() {
        let bad = |edit: fn(&mut VisualizerConfig)| {
            let mut config = VisualizerConfig::default();
            edit(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(bad(|c| c.alpha = 1.5).contains("alpha is 1.5"));
        assert!(bad(|c| c.title_fontsize = 0.0).contains("title_fontsize"));
        assert!(bad(|c| c.label_fontsize = f64::NAN).contains("label_fontsize"));
        assert!(bad(|c| c.figsize = Some([1e9, 1.0])).contains("figsize"));
        assert!(bad(|c| c.outfile = "/".into()).contains("outfile"));
        let contradiction = bad(|c| {
            c.outfile = "plot.svg".into();
            c.format = Some(ImageFormat::Png);
        });
        assert!(contradiction.contains("format is png") && contradiction.contains("svg file"), "{contradiction}");
        for (text, expected) in [
            ("subnetwork_colors = [\"red\", \"bleu\"]", "bleu"),
            ("plot_granularity = \"head\"", "`block`"),
            ("num_heads = 4", "num_heads"),
            ("format = \"pdf\"", "`png`"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
