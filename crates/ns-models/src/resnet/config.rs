//! HF's `ResNetConfig`.

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_sizes, invalid_config};
use crate::error::ModelError;

pub(crate) const MODEL_TYPE: &str = "resnet";
const HEADS: [(&str, Head); 2] =
    [("ResNetModel", Head::None), ("ResNetForImageClassification", Head::ImageClassification)];
/// How much narrower a bottleneck is than what comes out of it.
pub(super) const REDUCTION: usize = 4;

/// What a residual layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResNetLayerType {
    /// Two convolutions of 3 × 3.
    Basic,
    /// 1 × 1 to a quarter of the width, 3 × 3, and 1 × 1 back.
    Bottleneck,
}

/// Configuration of a ResNet, with the fields and defaults of HF's `ResNetConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResNetConfig {
    /// Channels of the images.
    pub num_channels: usize,
    /// Width of the stem.
    pub embedding_size: usize,
    /// Width of each stage.
    pub hidden_sizes: Vec<usize>,
    /// Residual layers of each stage.
    pub depths: Vec<usize>,
    /// What a residual layer computes.
    pub layer_type: ResNetLayerType,
    /// Non-linearity of the stem and after each residual addition; inside of the layers it is always ReLU.
    pub hidden_act: Activation,
    /// Whether the first stage halves the resolution, as the others do.
    pub downsample_in_first_stage: bool,
    /// Whether a bottleneck halves the resolution by its first convolution and not by the second.
    pub downsample_in_bottleneck: bool,
    /// The class, its labels, and everything else in the file.
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
    /// Head by the first of `architectures`; the base model if there is none.
    ///
    /// # Errors
    /// [`ModelError::UnknownArchitecture`].
    pub fn head(&self) -> Result<Head, ModelError> {
        self.common.head(MODEL_TYPE, &HEADS)
    }

    /// Width of the last stage.
    pub fn output_size(&self) -> usize {
        self.hidden_sizes.last().copied().unwrap_or_default()
    }

    /// Checks that the sizes describe a model.
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`], [`ModelError::UnknownArchitecture`].
    pub fn validate(&self) -> Result<(), ModelError> {
        self.head()?;
        let smallest = |sizes: &[usize]| sizes.iter().copied().min().unwrap_or_default();
        check_sizes(&[
            ("num_channels", self.num_channels),
            ("embedding_size", self.embedding_size),
            ("hidden_sizes", smallest(&self.hidden_sizes)),
            ("depths", smallest(&self.depths)),
            ("num_labels", self.common.n_labels()),
        ])?;
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
