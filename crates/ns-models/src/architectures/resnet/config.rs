//! Configuration of ResNet, HF's `ResNetConfig`.

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_range, check_sizes, invalid_config};
use crate::error::ModelError;

pub(crate) const MODEL_TYPE: &str = "resnet";
/// HF classes and their heads; the first is the default.
const HEADS: [(&str, Head); 2] =
    [("ResNetModel", Head::None), ("ResNetForImageClassification", Head::ImageClassification)];
/// Ratio of a bottleneck layer's output width to its inner width.
pub(super) const REDUCTION: usize = 4;
/// The largest number of channels of a layer.
const MAX_WIDTH: usize = 1 << 16;
/// The largest number of residual layers of all stages together.
const MAX_DEPTH: usize = 1000;

/// Kind of residual layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResNetLayerType {
    /// Two 3 × 3 convolutions, HF's `ResNetBasicLayer`.
    Basic,
    /// A 1 × 1 convolution to a quarter of the output width, a 3 × 3 convolution, and a 1 × 1 convolution to the output
    /// width, HF's `ResNetBottleNeckLayer`.
    Bottleneck,
}

/// Configuration of a [`ResNet`](super::ResNet), with the fields and defaults of HF's `ResNetConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResNetConfig {
    /// Number of channels of the images.
    pub num_channels: usize,
    /// Number of output channels of the stem.
    pub embedding_size: usize,
    /// Number of output channels of each stage.
    pub hidden_sizes: Vec<usize>,
    /// Number of residual layers of each stage.
    pub depths: Vec<usize>,
    /// Kind of residual layer.
    pub layer_type: ResNetLayerType,
    /// Activation function of the stem and after each residual addition. Inside a residual layer it is always ReLU.
    pub hidden_act: Activation,
    /// Whether the first stage halves the resolution, as the other stages do.
    pub downsample_in_first_stage: bool,
    /// Whether the first convolution of a bottleneck layer halves the resolution, instead of the second.
    pub downsample_in_bottleneck: bool,
    /// Class name, labels and all fields that are not listed here.
    #[serde(flatten)]
    pub common: CommonConfig,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self {
            num_channels: 3,
            embedding_size: 64,
            hidden_sizes: vec![256, 512, 1024, 2048],
            depths: vec![3, 4, 6, 3],
            layer_type: ResNetLayerType::Bottleneck,
            hidden_act: Activation::Relu,
            downsample_in_first_stage: false,
            downsample_in_bottleneck: false,
            common: CommonConfig::default(),
        }
    }
}

impl ResNetConfig {
    /// Returns the head of the first class in `architectures`, or [`Head::None`] if the list is empty or missing.
    ///
    /// # Errors
    /// Returns [`ModelError::UnknownArchitecture`] for a class that the family does not have.
    pub fn head(&self) -> Result<Head, ModelError> {
        self.common.head(MODEL_TYPE, &HEADS)
    }

    /// Number of output channels of the last stage.
    pub fn output_size(&self) -> usize {
        self.hidden_sizes.last().copied().unwrap_or_default()
    }

    /// Checks that the configuration describes a model that this crate supports.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidConfig`] for impossible sizes and [`ModelError::UnknownArchitecture`] for an
    /// unknown class.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.head()?;
        let smallest = |sizes: &[usize]| sizes.iter().copied().min().unwrap_or_default();
        let largest = |sizes: &[usize]| sizes.iter().copied().max().unwrap_or_default();
        check_sizes(&[
            ("num_channels", self.num_channels),
            ("embedding_size", self.embedding_size),
            ("hidden_sizes", smallest(&self.hidden_sizes)),
            ("depths", smallest(&self.depths)),
            ("num_labels", self.common.n_labels()),
        ])?;
        // The statistics of the batch norms are allocated before a checkpoint is compared with the model.
        check_range("embedding_size", self.embedding_size, MAX_WIDTH)?;
        check_range("hidden_sizes", largest(&self.hidden_sizes), MAX_WIDTH)?;
        check_range("depths", self.depths.iter().copied().fold(0, usize::saturating_add), MAX_DEPTH)?;
        if self.depths.len() != self.hidden_sizes.len() {
            let expected = format!("hidden_sizes has {} stages", self.hidden_sizes.len());
            return Err(invalid_config("depths", format!("{:?}", self.depths), expected));
        }
        let narrowest = smallest(&self.hidden_sizes);
        match self.layer_type == ResNetLayerType::Bottleneck && narrowest < REDUCTION {
            true => Err(invalid_config("hidden_sizes", narrowest, format!("a bottleneck divides it by {REDUCTION}"))),
            false => Ok(()),
        }
    }
}
