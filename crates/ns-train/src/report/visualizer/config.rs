//! Settings of circuit figures, with the field names of NeuroSurgeon's `VisualizerConfig`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::report::figures::{Colour, ImageFormat, MapStyle};

/// The part of a model that one bar of a circuit map shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Granularity {
    /// A weight tensor (with its bias if biases are counted).
    #[default]
    Tensor,
    /// A component of a block: an attention head, the MLP, …
    Block,
    /// A whole layer (block) of the model.
    Layer,
}

/// Settings of circuit figures.
///
/// Fields and defaults are those of NeuroSurgeon, with three exceptions: the legend is on, the colours can be
/// distinguished by colour-blind readers, and the size of the figure follows from its content. NeuroSurgeon's
/// `model_architecture`, `hidden_size`, `num_heads` and `mask_method` are not fields because they are read from the
/// model and the masks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VisualizerConfig {
    /// Names of the circuits. A circuit without a name is called `Subnetwork 1` or `Subnetwork 2`.
    pub model_labels: Vec<String>,
    /// Colours of the circuits: a name such as `red`, or `#rrggbb`.
    pub subnetwork_colors: [Colour; 2],
    /// Colour of parameters in both circuits.
    pub intersect_color: Colour,
    /// Colour of masked parameters that are not in any circuit.
    pub unused_color: Colour,
    /// Colour of parameters without a mask.
    pub unmasked_color: Colour,
    /// Whether biases are counted in addition to weights.
    pub visualize_bias: bool,
    /// Whether parameters without a mask are shown.
    pub plot_full_network: bool,
    /// The part of the model that one bar shows.
    pub plot_granularity: Granularity,
    /// Path of the figure. Without an extension `.svg` or `.png`, the extension of each written format is appended.
    pub outfile: PathBuf,
    /// The format to write. By default, the extension of `outfile` selects it; without one, both formats are written.
    pub format: Option<ImageFormat>,
    /// Width and height in inches, with 100 pixels per inch. By default, the size follows from the content.
    pub figsize: Option<[f64; 2]>,
    /// Font size of the title, in points.
    pub title_fontsize: f64,
    /// Font size of row names, column names and the legend, in points.
    pub label_fontsize: f64,
    /// Opacity of the colours of a circuit map, from 0 to 1.
    pub alpha: f64,
    /// Title of the figure.
    pub title: String,
    /// Whether the figure has a legend.
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
/// Largest width and height, in inches. A larger image may not fit in memory.
const MAX_FIGURE_SIZE: f64 = 200.0;
/// Largest font size, in points.
const MAX_FONT_SIZE: f64 = 200.0;

impl VisualizerConfig {
    /// Checks all settings.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for the first invalid setting: an opacity outside 0 to 1, a font or figure size
    /// that is not above 0 and at most 200, a format that contradicts the extension of `outfile`, or an `outfile`
    /// without a file name.
    pub fn validate(&self) -> Result<(), TrainError> {
        let within = |value: f64, max: f64| value > 0.0 && value <= max;
        let opaque = (0.0..=1.0).contains(&self.alpha);
        TrainError::check(opaque, "alpha", self.alpha, "the opacity must be from 0 to 1")?;
        for (setting, size) in [("title_fontsize", self.title_fontsize), ("label_fontsize", self.label_fontsize)] {
            let expected = "it must be above 0 and at most 200 points";
            TrainError::check(within(size, MAX_FONT_SIZE), setting, size, expected)?;
        }
        if let Some(figsize) = self.figsize {
            let fits = figsize.iter().all(|length| within(*length, MAX_FIGURE_SIZE));
            let expected = "width and height must be above 0 and at most 200 inches";
            TrainError::check(fits, "figsize", format!("{figsize:?}"), expected)?;
        }
        if let (Some(format), Some(implied)) = (self.format, self.implied_format()) {
            let expected = format!("the outfile `{}` must have the same format", self.outfile.display());
            TrainError::check(format == implied, "format", format.extension(), expected)?;
        }
        let named = self.outfile.file_name().is_some();
        TrainError::check(named, "outfile", self.outfile.display(), "the path must end in a file name")
    }

    /// Returns the paths and formats of the files to write.
    pub fn outputs(&self) -> Vec<(PathBuf, ImageFormat)> {
        match (self.implied_format(), self.format) {
            (Some(implied), _) => vec![(self.outfile.clone(), implied)],
            (None, Some(format)) => vec![(format.appended_to(&self.outfile), format)],
            (None, None) => ImageFormat::ALL.map(|format| (format.appended_to(&self.outfile), format)).to_vec(),
        }
    }

    /// Returns the format that the extension of `outfile` selects.
    fn implied_format(&self) -> Option<ImageFormat> {
        let extension = self.outfile.extension()?.to_str()?.to_lowercase();
        ImageFormat::ALL.into_iter().find(|format| format.extension() == extension)
    }

    /// Returns the names of `circuits` circuits.
    pub(super) fn labels(&self, circuits: usize) -> Vec<String> {
        let numbered = |index: usize| format!("Subnetwork {}", index + 1);
        (0..circuits).map(|index| self.model_labels.get(index).cloned().unwrap_or_else(|| numbered(index))).collect()
    }

    /// Converts the settings to the style of a figure of `circuits` circuits: points and inches become pixels.
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
        assert!(contradiction.contains("format is png") && contradiction.contains("`plot.svg`"), "{contradiction}");
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
